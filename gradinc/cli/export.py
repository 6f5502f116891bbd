"""``gradinc export``: the logs and the weights of runs for other programs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.base.text import print_warnings, printable
from gradinc.cli.arguments import Parser

OTHERS = "Give --tensorboard DIR or --safetensors DIR; gradinc runs --csv lists results"
"""The fix, with the places of numbers for other programs."""


def main(arguments: Sequence[str]) -> int:
    """Write event files, one folder for each run.

    Returns:
        0, or 1 if a run is damaged and was left out.
    """
    try:
        options = _parser().read(arguments)
    except UserError as error:
        if not error.where.startswith("--"):
            raise
        raise UserError(error.where, "is no format that runs are exported in", OTHERS) from error
    if options.safetensors is not None:
        return _weights(options)
    if options.tensorboard is None:
        raise UserError("gradinc export", "needs --tensorboard DIR or --safetensors DIR", OTHERS)
    from gradinc.records import tensorboard
    from gradinc.records.find import find_runs
    from gradinc.records.scalars import scalars
    from gradinc.records.summary import doubts

    found = find_runs(options.runs, options.output)
    tensorboard.check_tensorboard()
    runs = [run for run in found if run.damage is None]
    folders = [Path(options.tensorboard) / run.name for run in runs]
    for folder in folders:
        if folder.exists():  # with a second file TensorBoard would show everything twice
            raise UserError(str(folder), "already exists", "Remove it, or give another directory")
        if folders.count(folder) > 1:
            raise UserError(folder.name, "is the name of several of these runs", "Export them one at a time")
    print_warnings(doubts(found))
    for run, folder in zip(runs, folders, strict=True):
        count = tensorboard.write_events(scalars(run), folder)
        if not run.log_is_whole:
            log = run.path / "metrics.jsonl"
            print_warnings([f"{log} is damaged after line {len(run.metrics)}. The numbers end there."])
        if not options.quiet:
            print(f"{printable(folder)}  {count:,} numbers")
    if not options.quiet and runs:
        print(f"next: tensorboard --logdir {printable(options.tensorboard)}")
    return int(len(runs) < len(found))


def _weights(options: Namespace) -> int:
    """Write the weights of one run."""
    if options.tensorboard is not None or len(options.runs) > 1:
        raise UserError("--safetensors", "exports one run at a time, alone", "Give one RUN and one format")
    from gradinc.base.loading import loading
    from gradinc.records.find import find_one

    path = find_one(options.runs[0], options.output).path
    with loading():
        from gradinc.runs.trained import FinishedRun
        from gradinc.studies.weights_export import export_weights

    for file in export_weights(FinishedRun.open(path), Path(options.safetensors), best=options.best):
        if not options.quiet:
            print(f"{printable(file)}  {file.stat().st_size / 1000:,.0f} kB")
    return 0


def _parser() -> Parser:
    parser = Parser(
        "export",
        "Write the numbers of metrics.jsonl as event files that TensorBoard reads, or the weights of a run with\n"
        "a model card that says how to load them without gradinc.",
        "gradinc export outputs --tensorboard events\ngradinc export outputs/RUN --safetensors model",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="a run, a directory of runs, a pattern, the beginning")
    parser.add_argument("--tensorboard", metavar="DIR", help="output directory, with a folder for each run")
    parser.add_argument("--safetensors", metavar="DIR", help="output directory of one run's weights and model card")
    parser.add_argument("--best", action="store_true", help="the weights of the best validation instead of the last")
    parser.add_argument("--output", default="outputs", metavar="DIR", help="directory of runs given by name")
    return parser
