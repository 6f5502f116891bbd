"""``gradinc compare``: runs side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from shutil import get_terminal_size
from typing import Any

from gradinc.base.errors import UserError
from gradinc.base.text import print_columns, print_json, print_warnings, printable
from gradinc.cli.arguments import Parser

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def main(arguments: Sequence[str]) -> int:
    """Print the results of runs, and the keys of their configs that differ."""
    options = _parser().read(arguments)
    from gradinc.records.find import find_runs
    from gradinc.records.keys import MISSING, differing, settings
    from gradinc.records.summary import doubts, results_of

    runs = find_runs(options.runs, options.output)
    if len(runs) < 2:
        raise UserError("gradinc compare", "needs two runs or more", "Give another one; gradinc runs lists them")
    print_warnings(doubts(runs))
    values = [settings(run) for run in runs]
    keys = {key: [each.get(key, MISSING) for each in values] for key in differing(runs, free=True)}
    if options.json:
        print_json([_document(run, {key: column[i] for key, column in keys.items()}) for i, run in enumerate(runs)])
        return 0
    names = [_letters(number) for number in range(len(runs))]
    print_columns([[name, run.name] for name, run in zip(names, runs, strict=True)])
    results = results_of(runs)
    lines = [["", *names], *([name, *row] for name, row in results.items())]
    differences = [[key, *row] for key, row in keys.items()] or [["no key differs", *[""] * len(runs)]]
    _print_blocks([*lines, ["", *[""] * len(runs)], *differences])
    return 0


def _letters(number: int) -> str:
    """Return A, B, …, Z, AA, AB, … for 0, 1, …"""
    before, last = divmod(number, len(LETTERS))
    return (_letters(before - 1) if before else "") + LETTERS[last]


def _print_blocks(rows: Sequence[Sequence[str]]) -> None:
    """Print a table in as many blocks, one below the other, as the terminal's width needs."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    room = get_terminal_size().columns if sys.stdout.isatty() else sum(widths) + 2 * len(widths)
    start = 1
    while start < len(widths):
        end, used = start + 1, widths[0] + 2 + widths[start]
        while end < len(widths) and used + 2 + widths[end] <= room:
            used, end = used + 2 + widths[end], end + 1
        print()
        print_columns([[row[0], *row[start:end]] for row in rows])
        start = end


def _document(run: Any, keys: dict[str, str]) -> dict[str, Any]:
    document = {"run": run.name, "path": str(run.path), "status": run.status, "measure": run.measure}
    document |= {"damage": run.damage, "unsealed": run.unsealed}
    return {**document, "result": dict(run.result), "differing": keys}


def _parser() -> Parser:
    parser = Parser(
        "compare",
        "Show the results of runs side by side, and the keys of their configs that differ.",
        "gradinc compare outputs/RUN outputs/RUN …\n"
        "gradinc compare 'digits-cnn-*'     # or the end of a name: ef31df18",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run, a directory of runs, a pattern, the beginning")
    parser.add_argument("--output", default="outputs", metavar="DIR", help="directory of runs given by name")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
