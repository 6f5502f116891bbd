"""``gradinc train``: one run, or a sweep of them."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from gradinc import __version__
from gradinc.base.errors import UserError
from gradinc.cli.arguments import Parser
from gradinc.config.own_parts import use_parts


def main(arguments: Sequence[str]) -> int:
    """Compose and check all runs first, then run them."""
    options, overrides = read_arguments(arguments)
    _refuse_contradictions(options)
    config_dirs = [Path(folder) for folder in options.config_dir]
    if options.help:
        from gradinc.cli.train_help import train_help

        print(train_help(overrides, config_dirs))
        return 0
    if options.version:
        print(f"gradinc {__version__}")
        return 0
    if options.shell_completion:
        from gradinc.cli.completion import main as complete

        return complete(overrides)
    if options.cfg or options.info or options.hydra_help:
        from gradinc.cli.inspect import inspect

        return inspect(options, overrides, config_dirs)
    return _train(overrides, config_dirs, arguments, multirun=options.multirun)


def read_arguments(arguments: Sequence[str]) -> tuple[Namespace, list[str]]:
    """Return the options, which are Hydra's, and the ``key=value`` arguments.

    Raises:
        UserError: an option is unknown, or is a key that must be written as ``key=value``.
    """
    options, rest = _parser().parse_known_args(arguments)
    for index, argument in enumerate(rest):
        if argument.startswith("-"):
            raise _not_an_option(argument, rest[index + 1 : index + 2])
    use_parts(options.folders)
    if options.quiet:
        rest.append("progress=quiet")
    return options, rest


def _train(overrides: Sequence[str], config_dirs: Sequence[Path], arguments: Sequence[str], *, multirun: bool) -> int:
    from gradinc.config.compose import compose_jobs
    from gradinc.records.search import found_by

    jobs = compose_jobs(overrides, multirun=multirun, config_dirs=config_dirs)
    for job in jobs:
        found_by(job.config)
    from rich.console import Console

    from gradinc.base.loading import loading
    from gradinc.base.streams import going_on

    with going_on():
        # Started by torchrun with other processes; only the first one reports.
        console = Console(quiet=os.environ.get("RANK", "0") != "0")
        if multirun or len(jobs) > 1 or not jobs[0].cluster.is_here:
            from gradinc.studies.sweep.sweep import run_jobs

            return run_jobs(jobs, console, ["train", *arguments])
        from gradinc.studies.terminal import TerminalDisplay

        with loading():
            from gradinc.runs.execute import execute

        config = jobs[0].config
        with TerminalDisplay(console, config.progress) as display:
            return execute(config, display)


def _refuse_contradictions(options: Namespace) -> None:
    asked = [f"--{name}" for name in ("cfg", "info", "multirun", "run") if getattr(options, name)]
    if len(asked) > 1:
        raise UserError(" ".join(asked), "contradict each other", "Give one of them")
    for name in ("resolve", "package"):
        if getattr(options, name) and not options.cfg:
            raise UserError(f"--{name}", "needs --cfg", "Add --cfg job")


def _not_an_option(argument: str, following: list[str]) -> UserError:
    from gradinc.config.composer import Composer
    from gradinc.config.names import nearest_key

    name, equals, value = argument.lstrip("-").partition("=")
    if not equals and following and not following[0].startswith("-") and "=" not in following[0]:
        value = following[0]
    key = nearest_key(name, Composer().keys()) if argument.startswith("--") else None
    if key is None:
        return UserError(argument, "no such option", "See gradinc train --help")
    return UserError("gradinc takes key=value", f"{key}={value or '…'}")


def _parser() -> Parser:
    parser = Parser("train", "", add_help=False)
    flags = ("--help", "-h"), ("--version",), ("--multirun", "-m"), ("--run", "-r"), ("--resolve",), ("--hydra-help",)
    for names in (*flags, ("--shell-completion", "-sc")):
        parser.add_argument(*names, action="store_true")
    parser.add_argument("--cfg", "-c", choices=("job", "hydra", "all"))
    parser.add_argument("--package", "-p")
    infos = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
    parser.add_argument("--info", "-i", const="all", nargs="?", choices=infos)
    parser.add_argument("--config-dir", "-cd", action="append", default=[])
    return parser
