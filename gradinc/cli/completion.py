"""Shell completion: gradinc's commands here, the keys of ``train`` by Hydra."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.cli.main import COMMANDS

OF_RUNS = ("compare", "diff", "report", "export")
"""Commands that accept any number of runs."""

_HOW = 'eval "$(gradinc -sc install=bash)"'


def main(arguments: Sequence[str]) -> int:
    """Print the shell's completion script, or the completions of ``COMP_LINE``."""
    action, _, shell = (arguments[0] if len(arguments) == 1 else "").partition("=")
    if action not in ("install", "uninstall", "query") or shell not in ("bash", "fish", "zsh"):
        raise UserError(
            "--shell-completion", "needs install=, uninstall= or query= with bash, fish or zsh", f"Try {_HOW}"
        )
    if action != "query":
        return _hydra(arguments[0])
    if "COMP_LINE" not in os.environ:
        raise UserError("COMP_LINE", "is not set; the shell asks this", f"Install completion with {_HOW}")
    # The line without the program's name; the last word is being typed, empty after a space.
    words = os.environ["COMP_LINE"].split()[1:] + ([""] if os.environ["COMP_LINE"].endswith(" ") else [])
    if words[:1] == ["train"] and len(words) > 1 and not words[-1].startswith("-"):
        # Hydra composes the words of the line, and can do this with single values only.
        single = [w.lstrip("+") for w in words[1:-1] if "=" in w and w[0] != "-" and ("," not in w or "[" in w)]
        os.environ["COMP_LINE"] = " ".join(["gradinc", *single, words[-1]])
        return _hydra(arguments[0])
    found = [word for word in _next(words[:-1]) if word.startswith(words[-1] if words else "")]
    print(("\n" if shell == "fish" else " ").join(found))
    return 0


def _next(before: Sequence[str]) -> list[str]:
    """Return the possible words after these words."""
    if not before:
        return list(COMMANDS)
    if before[0] == "train":
        return ["--multirun", "--cfg", "--package", "--resolve", "--info", "--config-dir", "--quiet", "--help"]
    if before == ["list"]:
        from gradinc.cli.list import LISTED_KINDS

        return list(LISTED_KINDS)
    if before == ["data"]:
        from gradinc.config.groups import names

        return ["list", *names("data")]
    if before == ["test"] or before[0] in OF_RUNS:
        return sorted(str(path.parent) for path in Path("outputs").glob("*/config.yaml"))
    return []


def _hydra(argument: str) -> int:
    from gradinc.cli.inspect import hydra_itself

    return hydra_itself(["-sc", argument])
