"""Text for people: untrusted data, numbers, and columns."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

from gradinc.base.errors import UserError

_LONGEST_LINE = 1000
"""Characters of an error's line that are shown."""

NONE = "–"
"""Text shown for a missing value."""


def printable(text: object) -> str:
    """Return text from data, with the characters that would control the terminal escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def print_warnings(lines: Sequence[str]) -> None:
    """Print warnings for the reader of the output on standard error, one per line."""
    for line in lines:
        print(printable(f"warning: {line}"), file=sys.stderr)


def duration_text(seconds: float | None) -> str:
    """Return seconds in the largest unit with a value of 1 or more: ``4.1 s``, ``3.1 min``, ``12 h``."""
    if seconds is None:
        return NONE
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    for unit, size, limit in (("min", 60, 60), ("h", 3600, 48), ("d", 86400, 10000)):
        if seconds < limit * size:
            return f"{seconds / size:.1f} {unit}" if seconds < 10 * size else f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def bytes_text(value: float | None) -> str:
    """Return bytes in the unit with a value below 1,000: ``12 MB``, ``3.40 GB``."""
    if value is None:
        return NONE
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.2f} GB"


def count_text(value: float | None) -> str:
    """Return a count with separated thousands."""
    return NONE if value is None else f"{round(value):,}"


def counted(number: int, noun: str) -> str:
    """Return a count with its noun: ``1 run``, ``1,024 micro-batches``."""
    plural = "es" if noun.endswith("ch") else "s"
    return f"{number:,} {noun}{'' if number == 1 else plural}"


def percent_text(share: float | None, digits: int = 1) -> str:
    """Return a share of 1 in percent: ``97.3 %``."""
    return NONE if share is None else f"{100 * share:.{digits}f} %"


def number_text(value: float | None) -> str:
    """Return a number with four digits."""
    return NONE if value is None else f"{value:.4g}"


def one_line(error: UserError) -> str:
    """Return an error as one line without characters that control the terminal."""
    line = str(error)
    if len(line) > _LONGEST_LINE:  # a value may have thousands of characters; the reason comes last
        line = f"{line[: _LONGEST_LINE // 2]} … {line[-_LONGEST_LINE // 2 :]}"
    return printable(line)


def print_json(document: Any) -> None:
    """Print one JSON document, and nothing else."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def print_columns(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Print rows of text in columns, each as wide as it needs; the last column is not padded."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        print((indent + "  ".join([*cells, row[-1]])).rstrip())
