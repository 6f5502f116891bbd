"""A table's document on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gradinc.base.text import print_columns, printable
from gradinc.studies.tables.texts import CLAIM_HEAD, claim_lines, code_text, counts_text, facts, grid_texts, runs_lines

_GAP = 2
"""Spaces between columns."""

_STYLES = {
    "reproduced": "green",
    "supported": "green",
    "differs": "bold red",
    "contradicted": "bold red",
    "interval too wide": "yellow",
    "not shown": "yellow",
    "not judged": "dim",
}


def show(document: Mapping[str, Any], console: Console) -> None:
    """Show the table on a terminal, with the runs and commands below it."""
    head, body = grid_texts(document)
    console.print(Text(printable(document["title"]), style="bold"))
    for fact in facts(document):
        console.print(Text(printable(fact), style="dim"))
    console.print(_grid(head, body, console))
    if document["claims"] or document["unmeasured"]:
        if document["claim_rule"]:
            console.print(Text(printable("Rule of the claims: " + document["claim_rule"]), style="dim"))
        console.print(_grid(CLAIM_HEAD, claim_lines(document), console))
    for row in document["rows"]:
        if row["note"]:
            console.print(Text(printable(f"{row['title']}: {row['note']}")))
    for note in document["notes"]:
        console.print(Text(printable(f"· {note}")))
    for what, time, command in runs_lines(document):
        console.print(Text(printable(f"{what}: {time}"), style="dim"), soft_wrap=True)
        console.print(Text(printable(f"  {command}"), style="dim"), soft_wrap=True)
    console.print(Text(printable(code_text(document))))
    console.print(Text(counts_text(document)))


def show_columns(lines: Sequence[Sequence[str]], console: Console) -> None:
    """Show lines under a heading: wrapped to a terminal's width, but whole for other programs."""
    if console.is_terminal:
        console.print(_grid(lines[0], lines[1:], console))
    else:
        print_columns(lines)


def _grid(head: Sequence[str], body: Sequence[Sequence[str]], console: Console) -> Grid:
    grid = Grid(box=None, padding=(0, _GAP, 0, 0), header_style="bold")
    for name, width in zip(head, _widths([head, *body], console.width), strict=True):
        grid.add_column(name, overflow="fold", width=width)
    for line in body:
        words = [Text(printable(word)) for word in line]
        style = next((_STYLES[v] for v in _STYLES if line[-1].startswith(v)), "")
        words[-1].stylize(style)
        grid.add_row(*words)
    return grid


def _widths(lines: Sequence[Sequence[str]], whole: int) -> list[int | None]:
    """Return widths of columns in which no word is divided; None for each if all fit, or if words are too long.

    The room beyond the longest words goes to the columns whose usual text is the longest for its width.
    """
    columns = list(zip(*lines, strict=True))
    room = whole - _GAP * len(columns)
    wanted = [max(map(len, column)) for column in columns]
    found = [max(len(word) for text in column for word in text.split() or [""]) for column in columns]
    if sum(wanted) <= room or sum(found) > room:
        return [None] * len(columns)
    usual = [fmean(map(len, column)) for column in columns]
    while sum(found) < room:
        narrow = max(range(len(found)), key=lambda i: usual[i] / found[i] if found[i] < wanted[i] else 0.0)
        found[narrow] += 1
    return list(found)
