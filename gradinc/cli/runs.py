"""``gradinc runs``: lists runs and their results."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from shutil import get_terminal_size
from typing import Any

from gradinc.base.text import print_columns, print_json, print_warnings, printable
from gradinc.cli.arguments import Parser


def main(arguments: Sequence[str]) -> int:
    """List the runs that meet all conditions, the newest first."""
    options = _parser().read(arguments)
    from gradinc.records import query
    from gradinc.records.find import runs_under
    from gradinc.records.summary import doubts

    runs = runs_under(Path(options.output))
    wanted = query.conditions(options.conditions, runs)
    key = query.known_key(options.sort, runs)
    chosen = [run for run in runs if all(condition.holds(run) for condition in wanted)]
    chosen = query.ordered(chosen, key, reverse=options.reverse != (key == "written"))
    if options.json:
        print_json([_facts(run) for run in chosen])
    elif chosen:
        _print(chosen)
    else:
        print("no runs" if not runs else f"none of {len(runs)} runs meets this", file=sys.stderr)
    print_warnings(doubts(chosen))
    return 0


def _facts(run: Any) -> dict[str, Any]:
    from gradinc.records.query import FACTS

    facts = {name: fact(run) for name, fact in FACTS.items()}
    config = json.loads(json.dumps(run.config, default=str))  # YAML has dates, JSON does not
    return {"run": run.name, "path": str(run.path), **facts, "measure": run.measure, "config": config}


def _print(runs: Sequence[Any]) -> None:
    from gradinc.base.text import NONE, count_text, duration_text
    from gradinc.records.summary import score_text

    now = time.time()
    rows = [["status", "test", "protocol", "samples", "updates", "rows", "time", "age", "run"]]
    for run in runs:
        age = None if run.last_written is None else max(0.0, now - run.last_written)
        rows.append(
            [
                run.status,
                score_text(run.score, run.measure),
                run.protocol or "",
                count_text(run.number("result", "samples")),
                count_text(run.number("result", "steps")),
                count_text(run.number("result", "rows")),
                duration_text(run.number("result", "seconds")),
                NONE if age is None else duration_text(age),
                printable(run.name),
            ]
        )
    if not any(run.protocol for run in runs):
        rows = [[*row[:2], *row[3:]] for row in rows]
    if sys.stdout.isatty():
        others = [max(map(len, column)) + 2 for column in zip(*(row[:-1] for row in rows), strict=True)]
        width = get_terminal_size().columns - sum(others)
        rows = [[*row[:-1], shortened(row[-1], max(width, 16))] for row in rows]
    print_columns(rows)


def shortened(name: str, width: int) -> str:
    """Shorten a name in its middle: its end distinguishes runs, and every command accepts the end."""
    if len(name) <= width:
        return name
    tail = min(13, width // 2)  # -s0-1a2b3c4d
    return f"{name[: width - tail - 1]}…{name[-tail:]}"


def _parser() -> Parser:
    parser = Parser(
        "runs",
        "List the runs of an output directory, the newest first.",
        "gradinc runs model.name=cnn status=finished --sort test --reverse\n"
        "gradinc runs 'optimizer.lr<0.1' seed=0,1,2 --json\n\n"
        "Conditions: key=value (or several values with commas), !=, <, <=, >, >=; quote < and > for the shell.\n"
        "Keys: those of a config, and run, status, seal, protocol, test, loss, samples, updates, rows, passes,\n"
        "seconds, written.",
    )
    parser.add_argument("conditions", nargs="*", metavar="key=value", help="list only the runs that meet all of them")
    parser.add_argument("--sort", default="written", metavar="KEY", help="order by this key, the smallest first")
    parser.add_argument("--reverse", action="store_true", help="reverse the order")
    parser.add_argument("--output", default="outputs", metavar="DIR", help="directory of the runs")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    return parser
