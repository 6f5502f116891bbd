"""Text for people: from data that cannot be trusted, of numbers, and in columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from gradinc.base.errors import UserError

_LONGEST_LINE = 1000
"""Letters of an error's line that are shown."""


def printable(text: object) -> str:
    """Text from data, with the characters that would drive the terminal spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def print_warnings(lines: Sequence[str]) -> None:
    """Lines on standard error that say what a reader must know of what is printed."""
    for line in lines:
        print(printable(f"warning: {line}"), file=sys.stderr)


def duration(seconds: float) -> str:
    """Seconds as people read them: ``4.1 s``, ``3 min 05 s``, ``2 h 10 min``."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def bytes_shown(count: float) -> str:
    """A number of bytes in the largest unit that leaves a number of 1 or more."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000 or unit == "GB":
            return f"{count:.0f} {unit}" if unit in ("B", "kB", "MB") else f"{count:.2f} {unit}"
        count /= 1000
    raise AssertionError("unreachable")


def one_line(error: UserError) -> str:
    """An error as it is shown: one line, in which no character drives the terminal."""
    line = str(error)
    line = line[:-1] if line.endswith("?.") else line
    if len(line) > _LONGEST_LINE:  # somebody gave a value of thousands of letters; what is wrong with it comes last
        line = f"{line[: _LONGEST_LINE // 2]} … {line[-_LONGEST_LINE // 2 :]}"
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)


def print_json(document: Any) -> None:
    """One JSON document, and nothing else."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_columns(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Rows of text in columns, each as wide as it needs; the last one runs on."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        print((indent + "  ".join([*cells, row[-1]])).rstrip())
