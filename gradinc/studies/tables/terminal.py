"""A table's document on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gradinc.base.text import print_columns, printable
from gradinc.studies.tables.texts import CLAIM_HEAD, claim_lines, code_text, counts_text, facts, grid_texts, runs_lines

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
    console.print(_grid(head, body))
    if document["claims"] or document["unmeasured"]:
        if document["claim_rule"]:
            console.print(Text(printable("Rule of the claims: " + document["claim_rule"]), style="dim"))
        console.print(_grid(CLAIM_HEAD, claim_lines(document)))
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
        console.print(_grid(lines[0], lines[1:]))
    else:
        print_columns(lines)


def _grid(head: Any, body: Any) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in head:
        grid.add_column(name, overflow="fold")
    for line in body:
        words = [Text(printable(word)) for word in line]
        style = next((_STYLES[v] for v in _STYLES if line[-1].startswith(v)), "")
        words[-1].stylize(style)
        grid.add_row(*words)
    return grid
