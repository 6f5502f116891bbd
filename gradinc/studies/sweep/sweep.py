"""Several runs, each in a worker process; none of them stops the others."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

from rich.console import Console
from rich.text import Text

from gradinc.base.files import storing
from gradinc.base.signals import interruption
from gradinc.base.text import print_columns, printable
from gradinc.config.catalog import load_part
from gradinc.config.code import code_digests, edited
from gradinc.config.compose import Job
from gradinc.records.directory import RunDirectory
from gradinc.records.schemas import read_meta
from gradinc.records.seal import check_seal
from gradinc.runs.tracking import check_trackers, still_sending
from gradinc.studies.sweep.engines.local import Local
from gradinc.studies.sweep.fit import check_fit
from gradinc.studies.sweep.grid import check_grid, write_grid
from gradinc.studies.sweep.shipment import Shipment
from gradinc.studies.sweep.watch import Watch


def run_jobs(jobs: Sequence[Job], console: Console, arguments: Sequence[str]) -> int:
    """Run the jobs that are not finished, and show the final state of each.

    Args:
        jobs: the runs, composed and checked.
        console: the console for the display.
        arguments: their command line.

    Returns:
        0 if all are finished, 1 if one failed, or the code of the signal that ended the sweep.

    Raises:
        UserError: a run's place is taken, a run does not fit its data, the folder of a named sweep
            belongs to another grid, or a requirement of the engine is missing; nothing was created.
    """
    jobs = list({job.directory: job for job in reversed(jobs)}.values())[::-1]  # each requested run runs once
    engine = load_part("cluster", jobs[0].cluster.name)(**jobs[0].cluster.options)
    for job in jobs:
        check_trackers(job.config.trackers)
    for folder in {job.folder for job in jobs if job.folder is not None}:
        check_grid(folder, jobs)
    finished = [_is_finished(job) for job in jobs]
    left = [job for job, done in zip(jobs, finished, strict=True) if not done]
    devices = [str(job.config.document.get("device")) for job in left]
    with engine.started(devices) if isinstance(engine, Local) else nullcontext():
        check_fit(left)
        return _run(jobs, finished, engine, console, arguments)


def _run(jobs: Sequence[Job], finished: Sequence[bool], engine: Any, console: Console, arguments: Sequence[str]) -> int:
    """Run the jobs that are not finished, which have been checked, and return the exit code."""
    command = shlex.join(["gradinc", *arguments])
    for folder in {job.folder for job in jobs if job.folder is not None}:
        write_grid(folder, jobs, command)
    _tell_edited([job for job, done in zip(jobs, finished, strict=True) if done], console)
    places = {job.config.output: job.directory for job, done in zip(jobs, finished, strict=True) if not done}
    for place in places.values():  # an unwritable directory is reported before the first job
        with storing(place):
            place.mkdir(parents=True, exist_ok=True)
    progress = {job.config.progress for job in jobs}
    watch = Watch(jobs, console, quiet=progress == {"quiet"}, live=progress == {"auto"})
    shipments = []
    with interruption() as stop:
        stop.deferred = True
        with watch:
            for number, (job, done) in enumerate(zip(jobs, finished, strict=True)):
                if done:
                    watch.finished_before(number)
                else:
                    shipments.append(_shipment(number, job, arguments))
            if shipments:
                engine.run(shipments, watch, stop)
        watch.not_started()
    if not watch.quiet:
        print_columns(watch.summary())
        console.print(Text(watch.counts()), style="bold", soft_wrap=True)
        trackers = sorted({name for job in jobs for name in job.config.trackers})
        if (line := still_sending(trackers, [job.directory for job in jobs])) is not None:
            console.print(Text(printable(line)), soft_wrap=True)
    failed = any(line.failed for line in watch.lines)
    again = any(line.failed and line.state != "diverged" for line in watch.lines)  # a diverged run has ended
    left = any(line.state in ("interrupted", "not started") for line in watch.lines)
    if left and stop.signum:
        console.print(Text("What ran is saved. Resume with: " + printable(command)), style="yellow", soft_wrap=True)
    elif again and not watch.quiet:
        console.print(Text("The same command tries again what failed: " + printable(command)), soft_wrap=True)
    return 128 + stop.signum if stop.signum else int(failed or left)


def _is_finished(job: Job) -> bool:
    """Return whether there is nothing left to do.

    Raises:
        UserError: the run's directory has other content.
    """
    if job.config.fresh:
        return False
    directory = RunDirectory(job.config)
    directory.check_place()
    result = directory.result()
    if result is None:
        return False
    directory.check_config()
    return result["status"] == "finished" and directory.has_config() and not check_seal(result, directory.path)


def _tell_edited(finished: Sequence[Job], console: Console) -> None:
    """Report how many of the skipped runs were made by other code."""
    records = [(read_meta(job.directory / "meta.json"), job.config.document) for job in finished]
    for whose, count in Counter(edited(*record) for record in records).items():
        if whose is not None:
            line = f"{count} of the runs that are finished already were made by another version of {whose} code; "
            console.print(Text(printable(line) + "fresh=true runs them again"), style="yellow", soft_wrap=True)


def _shipment(number: int, job: Job, arguments: Sequence[str]) -> Shipment:
    document = job.config.document
    return Shipment(number, document, code_digests(document), os.getcwd(), str(job.directory), tuple(arguments))
