"""Running missing cells, and measuring the weights of finished runs if a cell needs it."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console

from gradinc.base.errors import UserError
from gradinc.config.compose import Job
from gradinc.records.measured import Measurement
from gradinc.records.recorded import RecordedRun
from gradinc.records.schemas import read_result
from gradinc.studies.tables.cells import Cell, with_seeds
from gradinc.studies.tables.collecting import MeasuredRun, quantities_of
from gradinc.studies.tables.specification import Table

_ENDED = ("finished", "diverged")
"""States of runs that are not repeated."""


def jobs_of(cells: Sequence[Cell]) -> dict[Path, Job]:
    """Return the runs of some cells, without repetition: cells of one row can share a run."""
    return {job.directory: job for cell in cells for job in cell.jobs.values()}


def status(place: Path) -> str:
    """Return the state of the run in a directory: a status of ``result.json``, ``unfinished`` or ``missing``."""
    if not (place / "config.yaml").is_file():
        return "missing"
    result = read_result(place / "result.json")
    return "unfinished" if result is None else str(result["status"])


def missing_jobs(table: Table, cells: Sequence[Cell], earlier: Mapping[str, MeasuredRun]) -> list[Job]:
    """Return the runs that have not ended, in the order of the table; diverged runs have ended.

    Args:
        earlier: runs that need not be repeated, from a table's file.
    """
    known = _known(table, cells, earlier)
    jobs = {job.directory: (job, cell.settings[seed]) for cell in cells for seed, job in cell.jobs.items()}
    return [
        job
        for job, settings in jobs.values()
        if job.config.fresh or (settings not in known and status(job.directory) not in _ENDED)
    ]


def cells_of_files(
    table: Table, cells: Sequence[Cell], every: Sequence[Cell], earlier: Mapping[str, MeasuredRun]
) -> list[Cell]:
    """Return the cells of a table's files: a command for a few rows or seeds leaves the other runs in the files.

    Args:
        cells: the chosen cells, with their seeds.
        every: the cells of all rows, with the chosen seeds and the rows' seeds.
        earlier: runs of a table's file.

    Returns:
        The cells of all rows, with the chosen seeds and the seeds that have ended; a cell without any of them has the
        row's seeds.
    """
    known, found = _known(table, every, earlier), []
    chosen = {(cell.row, cell.column): cell.jobs for cell in cells}
    for cell in every:
        asked = chosen.get((cell.row, cell.column), {})
        seeds = [
            seed
            for seed, job in cell.jobs.items()
            if seed in asked or cell.settings[seed] in known or status(job.directory) in _ENDED
        ]
        found.append(with_seeds(cell, seeds or table.seeds_of(cell.row)))
    return found


def _known(table: Table, cells: Sequence[Cell], earlier: Mapping[str, MeasuredRun]) -> set[str]:
    """Return the settings of some cells whose numbers a table's file has."""
    wanted = quantities_of(table, cells)
    return {settings for settings, run in earlier.items() if settings in wanted and run.has(wanted[settings])}


def run(jobs: Sequence[Job], console: Console, arguments: Sequence[str]) -> int:
    """Run all jobs, even if some fail, and return the exit code.

    This is the only use of sweeps by tables.

    Args:
        arguments: their command line.
    """
    from gradinc.studies.sweep.sweep import run_jobs

    return run_jobs(jobs, console, arguments)


def missing_measurements(table: Table, cells: Sequence[Cell]) -> list[tuple[RecordedRun, Measurement]]:
    """Return the missing measurements of finished runs that the cells need, without repetition."""
    wanted = {  # measurements of one run are grouped, so that it is opened once
        (job.directory, measurement.file): (job.directory, measurement)
        for cell in cells
        if (measurement := table.columns[cell.column].quantity.measurement) is not None
        for job in cell.jobs.values()
    }
    runs = {place: RecordedRun.open(place) for place, _ in wanted.values() if (place / "config.yaml").is_file()}
    found = [(runs[place], each) for place, each in wanted.values() if place in runs]
    return [(run, each) for run, each in found if run.status == "finished" and each.found(run) is None]


def make_measurements(missing: Sequence[tuple[RecordedRun, Measurement]], console: Console) -> int:
    """Measure weights and store the results with their runs; return 1 if a measurement failed, else 0.

    Failures are reported.

    Args:
        console: shows a progress bar if it is a terminal.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    from gradinc.base.text import one_line
    from gradinc.studies.attacks.keeping import keep  # imports torch, so only if there is something to measure

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    code = 0
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("measuring weights", total=len(missing))
        for run, measurement in missing:
            progress.update(task, description=f"{measurement.kind}: {run.name}")
            try:
                keep(measurement, run)
            except UserError as error:
                sys.stderr.write(one_line(error) + "\n")
                code = 1
            progress.advance(task)
    return code
