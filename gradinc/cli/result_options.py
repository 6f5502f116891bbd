"""Options and output of the commands that show results: metrics, order, and files for other programs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from shutil import get_terminal_size
from textwrap import fill
from typing import TYPE_CHECKING, Any

from gradinc.base.errors import UserError
from gradinc.base.text import NONE, print_columns, printable
from gradinc.cli.arguments import Parser
from gradinc.records.statistics import SPREADS, SpreadKind, spread_of

if TYPE_CHECKING:
    from gradinc.records.groups import RunGroup
    from gradinc.records.results import ResultTable

ENDINGS = {"csv": ".csv", "parquet": ".parquet", "latex": ".tex"}
"""Formats for other programs, and the endings of their files."""

NARROWEST = 22
"""Smallest width of a column of names."""


def add_result_options(parser: Parser) -> None:
    """Add the options that `gradinc runs` and `gradinc compare` share."""
    several = "by commas: acc, bwt, test, test.loss, seconds, train.loss, or any other number of a run"
    parser.add_argument("--metrics", "-m", metavar="A,B", help=f"the numbers to show, separated {several}")
    parser.add_argument(
        "--by", choices=("run", "setting"), help="one row for each run, or for runs that differ in seed"
    )
    spread = "what follows ± (by default sd, and on the terminal the interval beside it): " + "; ".join(
        f"{kind}: {words}" for kind, words in SPREADS.items()
    )
    parser.add_argument("--spread", choices=list(SPREADS), help=spread.replace("%", "%%"))
    parser.add_argument("--output", default="outputs", metavar="DIR", help="directory of runs given by name")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    for name, ending in ENDINGS.items():
        text = "write " + {"csv": "CSV", "latex": "LaTeX", "parquet": "Parquet"}[name]
        where = "a file" if name == "parquet" else "a file, or without one to the terminal"
        parser.add_argument(f"--{name}", nargs="?", const="-", metavar=f"FILE{ending}", help=f"{text} to {where}")


def add_label_option(parser: Parser) -> None:
    """Add the option of other names, which `gradinc compare` and `gradinc figure` share."""
    text = "another name of a setting or a metric in what is shown"
    parser.add_argument("--label", action="append", default=[], metavar="NAME=LABEL", help=text)


def chosen_labels(options: argparse.Namespace) -> dict[str, str]:
    """Return the names after ``--label`` by the names that they replace.

    Raises:
        UserError: an option is no pair.
    """
    pairs = {text: text.rpartition("=") for text in options.label}
    for text, (name, _, _) in pairs.items():
        if not name:
            raise UserError(f"--label {text}", "need NAME=LABEL", "Such as --label 'er=Experience replay'")
    return {name: label for name, _, label in pairs.values()}


def settle_files(options: argparse.Namespace, words: list[str]) -> None:
    """Read the files of the formats: a word after ``--csv`` that is no such file is one of the command's words.

    Raises:
        UserError: Parquet has no file.
    """
    for name, ending in ENDINGS.items():
        given = getattr(options, name)
        if given not in (None, "-") and not given.endswith(ending):
            if "=" not in given and not Path(given).is_dir() and Path(given).suffix:
                raise UserError(f"--{name} {given}", f"does not end in {ending}", f"Give FILE{ending}")
            words.insert(0, given)
            setattr(options, name, "-")
    if options.parquet == "-":
        raise UserError("--parquet", "needs a file", "Give --parquet FILE.parquet")


def chosen_metrics(options: argparse.Namespace) -> list[str] | None:
    """Return the names after ``--metrics``."""
    return None if options.metrics is None else [name for name in options.metrics.split(",") if name]


def write_formats(options: argparse.Namespace, table: ResultTable, base: RunGroup | None, *, by_setting: bool) -> bool:
    """Write the formats that were asked for.

    Args:
        base: the setting that the others are compared with, None for no differences.

    Returns:
        Whether nothing else is to be printed.
    """
    from gradinc.cli.result_latex import latex_of
    from gradinc.records.tabular import csv_text, write_parquet, write_text

    asked = [name for name in ENDINGS if getattr(options, name) is not None]
    records = (table.by_setting(base) if by_setting else table.by_run()) if asked else []
    for name in asked:
        file = getattr(options, name)
        if name == "parquet":
            write_parquet(records, Path(file))
        else:
            text = csv_text(records) if name == "csv" else latex_of(table, base, options.spread or "sd")
            sys.stdout.write(text) if file == "-" else write_text(Path(file), text)
        if file != "-" and not options.quiet:
            rows = len(table.settings) if name == "latex" else len(records)
            where = sys.stderr if options.json or "-" in (options.csv, options.latex) else sys.stdout
            print(f"written: {printable(file)}  {rows} rows", file=where)
    return bool(asked) and not options.json


def setting_rows(table: ResultTable, spread: SpreadKind | None = None) -> list[list[str]]:
    """Return the rows of settings: name, number of runs, and each metric.

    Args:
        spread: what follows the ±; None shows the standard deviation, and the 95 % interval beside it.
    """
    from gradinc.records.results import value_text

    rows = [["setting", "n", *_heads(table)]]
    for one in table.settings:
        count = f"{len(one.finished)}" if len(one.finished) == len(one.runs) else f"{len(one.finished)}/{len(one.runs)}"
        cells = [table.named(one.name), count]
        for name in table.metrics:
            found, share = table.found(one, name), name in table.shares
            if found is None:
                cells.append(NONE)
                continue
            text = value_text(found.mean, share=share)
            if (width := spread_of(found.deviation, found.count, spread or "sd")) is not None:
                text += f" ± {value_text(width, share=share)}"
            if found.interval is not None and spread is None:
                text += " [{}, {}]".format(*(value_text(end, share=share) for end in found.interval))
            cells.append(text)
        rows.append(cells)
    return rows


def print_settings(table: ResultTable, base: RunGroup | None, spread: SpreadKind | None) -> None:
    """Print the settings, their differences from one of them, and the meaning of the numbers.

    Args:
        base: the setting that the others are compared with, None for no differences.
    """
    print_blocks(setting_rows(table, spread))
    notes = [table.equal_runs()]
    if base is not None and any(each.found is not None for each in table.differences(base)):
        print(f"\nDifferences from {printable(table.named(base.name))}, paired by seed")
        print_blocks(difference_rows(table, base))
        notes.append(table.equal_pairs(base))
    beside = " [95 % interval of the mean, Student]" if spread is None else ""
    print(f"\nmean ± {SPREADS[spread or 'sd']}{beside}; n: finished runs")
    for note in filter(None, notes):
        print(fill(printable(note), get_terminal_size().columns))


def difference_rows(table: ResultTable, base: RunGroup) -> list[list[str]]:
    """Return the rows of paired differences: name, number of pairs, and each metric with its 95 % interval."""
    from gradinc.records.results import value_text

    by_name: dict[str, list[str]] = {}
    for each in table.differences(base):
        share, found = each.metric in table.shares, each.found
        cells = by_name.setdefault(each.name, [table.named(each.name), "0" if found is None else str(found.count)])
        text = NONE if found is None else _signed(value_text(found.mean, share=share))
        if found is not None and found.interval is not None:
            low, high = (_signed(value_text(end, share=share)) for end in found.interval)
            text += f" [{low}, {high}]"
        cells.append(text)
    return [["difference", "pairs", *_heads(table)], *by_name.values()]


def _heads(table: ResultTable) -> list[str]:
    return [table.named(name) + (", %" if name in table.shares else "") for name in table.metrics]


def _signed(text: str) -> str:
    return text if text.startswith("-") else f"+{text}"


def print_blocks(rows: Sequence[Sequence[str]], kept: int = 2) -> None:
    """Print a table in as many blocks, one below the other, as the terminal's width needs.

    Args:
        kept: the number of columns that each block begins with; the first one is shortened to fit.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    width = get_terminal_size().columns
    others = [max(map(len, column)) for column in zip(*(row[1:] for row in rows), strict=True)]
    own, widest = sum(others[: kept - 1]) + 2 * (kept - 1), max(others[kept - 1 :], default=0) + 2
    first = min(max(len(row[0]) for row in rows), max(NARROWEST, width - own - widest))
    start = kept
    while start < len(rows[0]) or start == kept:
        end, used = start, first + own
        while end < len(rows[0]) and (end == start or used + 2 + others[end - 1] <= width):
            used, end = used + 2 + others[end - 1], end + 1
        if start > kept:
            print()
        print_columns([[shortened(row[0], first), *row[1:kept], *row[start:end]] for row in rows])
        if end == start:
            return
        start = end


def shortened(name: str, width: int) -> str:
    """Shorten a name in its middle: its end distinguishes runs, and every command accepts the shortened name."""
    if len(name) <= width:
        return name
    tail = min(13, width // 2)  # -s0-1a2b3c4d
    return f"{name[: width - tail - 1]}…{name[-tail:]}"


def document_of(table: ResultTable) -> list[dict[str, Any]]:
    """Return the settings as a JSON document."""
    settings = []
    for one, record in zip(table.settings, table.by_setting(), strict=True):
        ends = ("", "_sd", "_low", "_high", "_n")
        numbers = {
            name: dict(zip(("mean", "sd", "low", "high", "n"), (record[name + end] for end in ends), strict=True))
            for name in table.metrics
        }
        document = {"setting": table.named(one.name), "values": one.values, "runs": [run.name for run in one.runs]}
        settings.append({**document, "n": len(one.finished), "metrics": numbers})
    return settings
