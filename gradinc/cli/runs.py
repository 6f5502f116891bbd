"""``gradinc runs``: lists runs or settings and their results."""

from __future__ import annotations

import json
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from gradinc.base.text import NONE, count_text, duration_text, print_columns, print_json, print_warnings, printable
from gradinc.cli.arguments import Parser
from gradinc.cli.result_options import (
    NARROWEST,
    add_result_options,
    chosen_metrics,
    document_of,
    print_settings,
    settle_files,
    shortened,
    write_formats,
)

MOST_OF_NAME = 44
"""Largest number of characters of a run's name for which columns are left out."""


def main(arguments: Sequence[str]) -> int:
    """List the runs that meet all conditions, the newest first, or their settings."""
    options = _parser().read(arguments)
    settle_files(options, options.conditions)
    from gradinc.records import query
    from gradinc.records.find import runs_under
    from gradinc.records.results import result_table, sorted_settings
    from gradinc.records.summary import doubts

    runs = runs_under(Path(options.output))
    wanted = query.conditions(options.conditions, runs)
    chosen = [run for run in runs if all(condition.holds(run) for condition in wanted)]
    by_setting = options.by == "setting" or (options.by is None and (options.latex or options.spread) is not None)
    if by_setting:
        table = result_table(chosen, chosen_metrics(options))
        key = options.sort or table.metrics[0]
        backwards = options.reverse != (options.sort is None)
        table = replace(table, settings=sorted_settings(table, key, reverse=backwards))
        if not write_formats(options, table, None, by_setting=True):
            _show_settings(table, runs, options)
    else:
        key = query.known_key(options.sort or "written", runs)
        chosen = query.ordered(chosen, key, reverse=options.reverse != (key == "written"))
        table = result_table(chosen, chosen_metrics(options))
        if not write_formats(options, table, None, by_setting=False):
            _show_runs(table, runs, options)
    print_warnings(doubts(chosen))
    return 0


def _show_settings(table: Any, runs: Sequence[Any], options: Namespace) -> None:
    if options.json:
        print_json(document_of(table))
    elif table.settings:
        print_settings(table, None, options.spread)
    else:
        print(_nothing(runs), file=sys.stderr)


def _show_runs(table: Any, runs: Sequence[Any], options: Namespace) -> None:
    if options.json:
        asked = table.metrics if options.metrics else []
        print_json([_facts(run, asked) for run in table.runs])
    elif table.runs:
        _print(table, chosen=options.metrics is not None)
    else:
        print(_nothing(runs), file=sys.stderr)


def _nothing(runs: Sequence[Any]) -> str:
    return "no runs" if not runs else f"none of {len(runs)} runs meets this"


def _facts(run: Any, asked: Sequence[str]) -> dict[str, Any]:
    from gradinc.records.query import FACTS
    from gradinc.records.results import value_of

    facts = {name: fact(run) for name, fact in FACTS.items()}
    facts |= {name: value_of(run, name) for name in asked}
    config = json.loads(json.dumps(run.config, default=str))  # YAML has dates, JSON does not
    return {"run": run.name, "path": str(run.path), **facts, "measure": run.measure, "config": config}


def _print(table: Any, *, chosen: bool) -> None:
    """Print one line for each run, with the columns that fit on the terminal beside its name."""
    from gradinc.records.results import value_of, value_text
    from gradinc.records.summary import score_text

    def numbers(name: str) -> list[str]:
        share = name in table.shares
        return [value_text(value_of(run, name), share=share) for run in table.runs]

    runs, now = table.runs, time.time()
    ages = [None if run.last_written is None else max(0.0, now - run.last_written) for run in runs]
    columns: list[tuple[str, Sequence[str], int]] = [("status", [run.status for run in runs], 1)]
    if not chosen and not all(run.measure is None or value_of(run, "acc") is not None for run in runs):
        columns.append(("test", [score_text(run.score, run.measure) for run in runs], 0))
    metrics = (
        table.metrics if chosen else [name for name in table.metrics if name not in ("test", "loss", "validation")]
    )
    columns += [
        (f"{name}, %" if name in table.shares else name, numbers(name), 2 + n) for n, name in enumerate(metrics)
    ]
    columns += [
        ("protocol", [run.protocol or "" for run in runs], 2),
        ("samples", [count_text(run.number("result", "samples")) for run in runs], 22),
        ("updates", [count_text(run.number("result", "steps")) for run in runs], 23),
        ("rows", [count_text(run.number("result", "rows")) for run in runs], 24),
        ("time", [duration_text(run.number("result", "seconds")) for run in runs], 20),
        ("age", [NONE if age is None else duration_text(age) for age in ages], 21),
    ]
    columns = [column for column in columns if any(text not in ("", NONE) for text in column[1])]
    names = [printable(run.name) for run in runs]
    width, longest = get_terminal_size().columns, min(max(map(len, names)), MOST_OF_NAME)
    while len(columns) > 2 and _width(columns) + longest > width:
        columns.remove(max(columns, key=lambda column: column[2]))
    room = max(NARROWEST, width - _width(columns))
    cells = zip(*(column[1] for column in columns), strict=True)
    rows = [[*row, shortened(name, room)] for row, name in zip(cells, names, strict=True)]
    print_columns([[*(column[0] for column in columns), "run"], *rows])


def _width(columns: Sequence[tuple[str, Sequence[str], int]]) -> int:
    return sum(max(len(head), *map(len, texts)) + 2 for head, texts, _ in columns)


def _parser() -> Parser:
    parser = Parser(
        "runs",
        "List the runs of an output directory, the newest first, or its settings: runs that differ in the seed only.\n"
        "A setting has the mean of its finished runs ± standard deviation, and Student's 95 % interval of the mean in\n"
        "brackets; intervals of shares are cut at 0 and 100 %.",
        "gradinc runs model.name=cnn status=finished --sort test --reverse\n"
        "gradinc runs 'optimizer.lr<0.1' seed=0,1,2 --json\n"
        "gradinc runs strategy=finetune,er --by setting --metrics acc,bwt,task_metrics.acc\n"
        "gradinc runs --csv runs.csv --parquet runs.parquet      # or --by setting\n"
        "gradinc runs --latex table.tex\n\n"
        "Conditions: key=value (or several values with commas), !=, <, <=, >, >=; quote < and > for the shell.\n"
        "Keys: those of a config, strategy, optimizer and so on as they were chosen, every number of a result, and\n"
        "run, status, seal, protocol, test, loss, samples, updates, rows, passes, seconds, written.",
    )
    parser.add_argument("conditions", nargs="*", metavar="key=value", help="list only the runs that meet all of them")
    add_result_options(parser)
    parser.add_argument("--sort", metavar="KEY", help="order by this key or number, the smallest first")
    parser.add_argument("--reverse", action="store_true", help="reverse the order")
    return parser
