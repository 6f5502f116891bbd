"""``gradinc export``: the logs and the weights of runs for other programs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.base.text import counted, print_warnings, printable
from gradinc.cli.arguments import Parser
from gradinc.records.recorded import RecordedRun
from gradinc.records.summary import doubts

OTHERS = "Give --tensorboard DIR, --track NAME or --safetensors DIR; gradinc runs --csv lists results"
"""The fix, with the places of numbers for other programs."""


def main(arguments: Sequence[str]) -> int:
    """Write event files or weights, or send the numbers of runs to trackers.

    Returns:
        0, or 1 if a run is damaged or still running and was left out.
    """
    try:
        options = _parser().read(arguments)
    except UserError as error:
        if not error.where.startswith("--"):
            raise
        raise UserError(error.where, "is no format that runs are exported in", OTHERS) from error
    chosen = [name for name in ("safetensors", "tensorboard", "track") if getattr(options, name) is not None]
    if len(chosen) != 1:
        what = "needs --tensorboard DIR, --track NAME or --safetensors DIR" if not chosen else "writes one format"
        raise UserError("gradinc export", what, OTHERS)
    return {"safetensors": _weights, "tensorboard": _events, "track": _track}[chosen[0]](options)


def _events(options: Namespace) -> int:
    """Write event files, one folder for each run."""
    from gradinc.records.find import find_runs
    from gradinc.records.logged_rows import all_rows
    from gradinc.runs.tracking import check_tracker
    from gradinc.trackers.tensorboard import write_events

    found = find_runs(options.runs, options.output)
    check_tracker("tensorboard", "--tensorboard")
    runs = [run for run in found if run.damage is None]
    folders = [Path(options.tensorboard) / run.name for run in runs]
    for folder in folders:
        if folder.exists():  # with a second file TensorBoard would show everything twice
            raise UserError(str(folder), "already exists", "Remove it, or give another directory")
        if folders.count(folder) > 1:
            raise UserError(folder.name, "is the name of several of these runs", "Export them one at a time")
    print_warnings(doubts(found))
    for run, folder in zip(runs, folders, strict=True):
        count = write_events(all_rows(run), run, folder)
        _warn_of_end(run)
        if not options.quiet:
            print(f"{printable(folder)}  {count:,} numbers")
    if not options.quiet and runs:
        print(f"next: tensorboard --logdir {printable(options.tensorboard)}")
    return int(len(runs) < len(found))


def _track(options: Namespace) -> int:
    """Send to trackers what they do not have yet of each run."""
    from gradinc.records.find import find_runs
    from gradinc.records.follow import export
    from gradinc.runs.tracking import check_tracker

    names = options.track.split(",")
    for name in names:
        check_tracker(name, f"--track {name}")
    found = find_runs(options.runs, options.output)
    runs = [run for run in found if run.damage is None and run.status != "running"]
    print_warnings(doubts(found))
    print_warnings([f"{run.name} is still running, and was left out." for run in found if run.status == "running"])
    for run in runs:
        _warn_of_end(run)
        for name in names:
            count = export(run, name)
            if not options.quiet:
                print(f"{printable(run.name)}  {name}: {counted(count, 'new row')}")
    return int(len(runs) < len(found))


def _warn_of_end(run: RecordedRun) -> None:
    if not run.log_is_whole:
        log = run.path / "metrics.jsonl"
        print_warnings([f"{log} is damaged after line {len(run.metrics)}. The numbers end there."])


def _weights(options: Namespace) -> int:
    """Write the weights of one run."""
    if len(options.runs) > 1:
        raise UserError("--safetensors", "exports one run at a time", "Give one RUN")
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
        "Write the numbers of runs as event files that TensorBoard reads, send them to trackers as track= does during\n"
        "a run, or write the weights of a run with a model card that says how to load them without gradinc.",
        "gradinc export outputs --tensorboard events\ngradinc export outputs --track mlflow,wandb\n"
        "gradinc export outputs/RUN --safetensors model",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run, a directory of runs, a pattern, or the beginning of names"
    )
    parser.add_argument("--tensorboard", metavar="DIR", help="output directory, with a folder for each run")
    parser.add_argument("--track", metavar="NAMES", help="trackers, with commas: any of gradinc list trackers")
    parser.add_argument("--safetensors", metavar="DIR", help="output directory of one run's weights and model card")
    parser.add_argument("--best", action="store_true", help="the weights of the best validation instead of the last")
    parser.add_argument("--output", default="outputs", metavar="DIR", help="directory of runs given by name")
    return parser
