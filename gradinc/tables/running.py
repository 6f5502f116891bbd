"""Running the cells that are missing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from gradinc.config.compose import Job
from gradinc.records import read_result
from gradinc.tables.cells import Cell


def jobs_of(cells: Sequence[Cell]) -> dict[Path, Job]:
    """The runs of some cells, each once: cells of one row can share a run."""
    return {job.directory: job for cell in cells for job in cell.jobs.values()}


def status(job: Job) -> str:
    """What has come of a run: a status of ``result.json``, ``unfinished`` or ``missing``."""
    if not (job.directory / "config.yaml").is_file():
        return "missing"
    result = read_result(job.directory / "result.json")
    return "unfinished" if result is None else str(result["status"])


def missing_jobs(cells: Sequence[Cell]) -> list[Job]:
    """The runs that have not come to their end, in the order of the table; those that diverged have."""
    return [job for job in jobs_of(cells).values() if job.config.fresh or status(job) not in ("finished", "diverged")]


def run(jobs: Sequence[Job], console: Console, arguments: Sequence[str]) -> int:
    """Run jobs, whatever becomes of each, and return the exit code.

    Everything that a table needs of the machinery of sweeps is here.

    Args:
        arguments: the command line that stands for them.
    """
    from gradinc.commands.sweep import sweep

    return sweep(jobs, console, arguments)
