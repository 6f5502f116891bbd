"""Messages about a run that has ended; imports no torch."""

from __future__ import annotations

import shlex
from typing import Any

from gradinc.config.catalog import part
from gradinc.config.code import edited
from gradinc.config.parts_folder import with_options
from gradinc.config.schema import Config
from gradinc.config.values import Strength
from gradinc.records.directory import RunDirectory
from gradinc.records.schemas import ENDED, read_meta
from gradinc.records.seal import SEAL
from gradinc.runs.bounds import compare_with_bounds
from gradinc.runs.display import Display


def tell_if_ended(directory: RunDirectory, display: Display) -> int | None:
    """Show the result of an ended run and return its exit code; None if it has not ended.

    Raises:
        UserError: its files differ from the files that it ended with.
    """
    result = directory.result()
    if result is None or result["status"] not in ENDED:
        return None
    if (said := directory.check_seal(result)) is not None:
        display.warn(said)
    if result["status"] == "diverged":
        display.warn(divergence(directory, result))
        return 1
    whose = edited(read_meta(directory.path / "meta.json"), directory.config.document)
    other = "" if whose is None else f" by another version of {whose} code; fresh=true runs it again"
    unsealed = "" if SEAL in result else " (unsealed)"
    display.say(f"{directory.path} is finished already{other}{unsealed}.")
    tell_end(directory, result, display)
    return 0


def tell_end(directory: RunDirectory, result: dict[str, Any], display: Display) -> None:
    """Show the result of a finished run, with its bounds, and the next command."""
    display.ended(result)
    if "matrix" in result:
        compare_with_bounds(directory, display)
    config = directory.config  # of an object of a Python program only its record can be read by a command
    known = not any(section.options.get("digest") for section in (config.model, config.data, config.criterion))
    words = ["gradinc", "test" if known else "report", str(directory.path), *with_options()]
    display.say(f"next: {shlex.join(words)}", style="bold")


def divergence(directory: RunDirectory, result: dict[str, Any]) -> str:
    """Return the line about a run that diverged."""
    smaller = " or ".join([*_strengths(directory.config), "optimizer.lr"])
    return (
        f"{directory.path} diverged at step {result['diverged_at']}: {result['tensor']} is not finite. "
        f"The last good checkpoint remains. Use a smaller {smaller}; fresh=true runs it again."
    )


def _strengths(config: Config) -> list[str]:
    """Return the weights of methods' loss terms: any of them can be too large for the learning rate."""
    return [
        f"strategy.methods.{name}.{option}"
        for name, options in config.strategy.methods.items()
        for option, parameter in part("method", name).parameters.items()
        if parameter.annotation == Strength and options[option] > 0
    ]
