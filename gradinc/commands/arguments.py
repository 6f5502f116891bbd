"""Reading options, and writing text that came from data."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

from gradinc.errors import UserError


class Parser(argparse.ArgumentParser):
    """An argument parser whose every complaint is a `UserError`.

    Args:
        command: the command's name.
        description: what it does.
        examples: lines that `--help` ends in.
    """

    def __init__(self, command: str, description: str, examples: str = "", **options: Any) -> None:
        super().__init__(
            prog=f"gradinc {command}",
            description=description,
            epilog=examples,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
            **options,
        )
        self.add_argument("--quiet", "-q", action="store_true", help="no progress, only errors and results")

    def error(self, message: str) -> NoReturn:
        raise UserError(self.prog, message, f"See {self.prog} --help")

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse all arguments.

        Raises:
            UserError: there is one that is not known.
        """
        options, others = self.parse_known_intermixed_args(arguments)
        for other in others:
            known = [name for action in self._actions for name in action.option_strings]
            near = get_close_matches(other, known, n=1)
            raise UserError(
                other, f"{self.prog} does not take it", f"Did you mean {near[0]}?" if near else "Leave it out"
            )
        return options


def printable(text: object) -> str:
    """Text from data, with the characters that would drive the terminal spelled out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def print_warnings(lines: Sequence[str]) -> None:
    """Lines on standard error that say what a reader must know of what is printed."""
    for line in lines:
        print(printable(f"warning: {line}"), file=sys.stderr)


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
