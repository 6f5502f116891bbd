"""``--cfg``, ``--info``, ``--hydra-help`` and completion: answered by Hydra's own command line."""

from __future__ import annotations

import contextlib
import io
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig, OmegaConf

from gradinc.base.errors import UserError
from gradinc.config.composer import HYDRA_BASE, Composer
from gradinc.config.groups import conf_folder
from gradinc.config.overrides import parse, refuse_sweeps


def inspect(options: Namespace, overrides: Sequence[str], config_dirs: Sequence[Path]) -> int:
    """Show the composed run, after checking it.

    Raises:
        UserError: it is wrong.
    """
    composer = Composer(config_dirs)
    assignments = [parse(text, config_dirs) for text in overrides]
    refuse_sweeps(assignments)
    composer.config(assignments)
    arguments = composer.arguments(assignments)
    if options.hydra_help:
        return hydra_itself(["--hydra-help"])
    if options.info:
        return hydra_itself(["--info", options.info, *arguments])
    package = options.package
    whole = OmegaConf.merge(composer.tree(assignments), {"hydra": composer.hydra(assignments)})
    if package not in (None, "_global_") and OmegaConf.select(whole, package) is None:
        raise UserError(f"--package {package}", "no such section", "Give one of those that --cfg job shows")
    flags = [*(["--resolve"] if options.resolve else []), *(["--package", package] if package else [])]
    return hydra_itself(["--cfg", options.cfg, *flags, *arguments])


def hydra_itself(arguments: Sequence[str]) -> int:
    """Let Hydra's command line answer. It starts nothing: `arguments` only request output."""

    @hydra.main(version_base=HYDRA_BASE, config_path=str(conf_folder()), config_name="config")
    def never(config: DictConfig) -> None:
        raise AssertionError("Hydra was asked to show something, not to run")

    before, said, code = sys.argv, io.StringIO(), 0
    sys.argv = ["gradinc", *arguments]
    try:
        with contextlib.redirect_stdout(said):
            never()
    except SystemExit as done:
        code = done.code if isinstance(done.code, int) else 0
    finally:
        sys.argv = before
    print(said.getvalue(), end="")
    return code
