"""``gradinc export``: the logs of runs for other programs."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from gradinc.commands.arguments import Parser, printable
from gradinc.errors import UserError


def main(arguments: Sequence[str]) -> int:
    """Write event files, one folder for each run."""
    options = _parser().read(arguments)
    from gradinc.results import tensorboard
    from gradinc.results.find import find_runs
    from gradinc.results.scalars import scalars

    runs = find_runs(options.runs, options.output)
    tensorboard.check()
    folders = [Path(options.tensorboard) / run.name for run in runs]
    for folder in folders:
        if folder.exists():  # a second file beside the first would show everything twice
            raise UserError(str(folder), "is there already", "Remove it, or give another directory")
        if folders.count(folder) > 1:
            raise UserError(folder.name, "is the name of several of these runs", "Export them one at a time")
    for run, folder in zip(runs, folders, strict=True):
        count = tensorboard.write(scalars(run), folder)
        if not run.log_is_whole:
            log = run.path / "metrics.jsonl"
            line = f"warning: {log} is damaged after line {len(run.metrics)}. The numbers end there."
            print(printable(line), file=sys.stderr)
        if not options.quiet:
            print(f"{printable(folder)}  {count:,} numbers")
    if not options.quiet:
        print(f"next: tensorboard --logdir {printable(options.tensorboard)}")
    return 0


def _parser() -> Parser:
    parser = Parser(
        "export",
        "Write the numbers of metrics.jsonl as event files that TensorBoard reads.",
        "gradinc export outputs --tensorboard events\ngradinc export outputs/RUN --tensorboard events",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run, a directory of runs, a pattern, the beginning")
    parser.add_argument("--tensorboard", metavar="DIR", required=True, help="where to; a folder in it for each run")
    parser.add_argument("--output", default="outputs", metavar="DIR", help="where runs are looked for by name")
    return parser
