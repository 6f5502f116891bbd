"""``gradinc diff``: the differences between two runs, and the first line where their logs differ."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict
from shutil import get_terminal_size
from typing import TYPE_CHECKING

from gradinc.base.text import print_columns, print_json, print_warnings
from gradinc.cli.arguments import Parser

if TYPE_CHECKING:
    from gradinc.records.difference import Comparison

_LONGEST = 44
"""Largest number of characters of a value; the JSON document has all of them."""

SHORTEST = 12
"""Smallest number of characters of a value on a narrow terminal."""


def main(arguments: Sequence[str]) -> int:
    """Print the differences, subject by subject. The exit code is 0 with and without differences."""
    options = _parser().read(arguments)
    from gradinc.records.difference import compare
    from gradinc.records.find import find_one
    from gradinc.records.summary import doubts

    runs = [find_one(run, options.output) for run in (options.first, options.second)]
    print_warnings(doubts(runs))
    comparison = compare(*runs)
    if options.json:
        parts = {name: [asdict(each) for each in found] for name, found in comparison.subjects.items()}
        parting = asdict(comparison.parting) if comparison.parting else None
        metrics = {"lines": list(comparison.lines), "first_difference": parting}
        print_json({"runs": [str(run.path) for run in runs], "same": comparison.same, **parts, "metrics": metrics})
        return 0
    print_columns([["A", str(runs[0].path)], ["B", str(runs[1].path)]])
    _print(comparison)
    return 0


def _print(comparison: Comparison) -> None:
    same = [name for name, differences in comparison.subjects.items() if not differences]
    for name, differences in comparison.subjects.items():
        if differences:
            print(f"\n{name}")
            _print_sides([(each.key, each.first, each.second) for each in differences])
    parting = comparison.parting
    print()
    if parting is None:
        same.append(f"metrics.jsonl ({comparison.lines[0]:,} lines)")
    else:
        after = "from the first line on" if parting.before is None else f"the same up to step {parting.before:,}"
        print(f"metrics.jsonl: {after}; line {parting.line:,}", end="")
        print("" if parting.step is None else f", step {parting.step:,}")
        _print_sides([(parting.key, parting.first, parting.second)])
    if same:
        print(f"the same: {', '.join(same)}")


def _print_sides(rows: Sequence[tuple[str, str, str]]) -> None:
    """Print keys with their two values, shortened to the terminal's width."""
    longest = _LONGEST
    if sys.stdout.isatty():
        room = get_terminal_size().columns - len("  ") * 3 - max(len(key) for key, _, _ in rows)
        longest = min(_LONGEST, max(room // 2, SHORTEST))
    print_columns([["", "A", "B"], *([key, _cut(a, longest), _cut(b, longest)] for key, a, b in rows)], indent="  ")


def _cut(value: str, longest: int) -> str:
    return value if len(value) <= longest else f"{value[: longest - 1]}…"


def _parser() -> Parser:
    parser = Parser(
        "diff",
        "Show the differences between two runs: config, code, environment, data, result, and the first line at which\n"
        "their metrics.jsonl differ. The exit code is 0 whether they differ or not.",
        "gradinc diff outputs/RUN outputs/RUN",
    )
    parser.add_argument("first", metavar="A", help="a run's directory, or its name under outputs/")
    parser.add_argument("second", metavar="B", help="the other one")
    parser.add_argument("--output", default="outputs", metavar="DIR", help="directory of runs given by name")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
