"""What the commands and the Python of a page print: each block is run, in the order of the page."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from gradinc.cli.main import main

BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)


class Shown(NamedTuple):
    """One command of a page."""

    command: str
    shown: str
    """What the page says that it prints; empty if the page does not show it."""
    printed: str


def run(text: str) -> Iterator[Shown]:
    """Run all blocks of a page in the current folder, and yield each command with its output."""
    names: dict[str, object] = {}
    for language, block in BLOCK.findall(text):
        if language == "python":
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                exec(compile(block, "page", "exec"), names)
            continue
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = piece.partition("\n")
            yield Shown(command, shown.strip(), printed(command))


def printed(command: str) -> str:
    """Run one command of gradinc, and return what it prints."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        main(shlex.split(command)[1:])
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()).strip()


def refreshed(text: str) -> str:
    """Return a page with the output of its commands as they are now; an output that is not shown stays so."""
    os.environ["COLUMNS"] = "120"
    for each in run(text):
        if each.shown:
            text = text.replace(f"$ {each.command}\n{each.shown}", f"$ {each.command}\n{each.printed}")
    return text
