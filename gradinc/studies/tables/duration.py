"""The expected duration of a table's missing runs, from the wall times of other runs of the same rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from gradinc.base.errors import UserError
from gradinc.base.text import counted, duration_text
from gradinc.config.catalog import PACKAGE
from gradinc.config.compose import Job
from gradinc.records.schemas import read_result
from gradinc.studies.tables.cells import Cell
from gradinc.studies.tables.collecting import MeasuredRun
from gradinc.studies.tables.earlier import read_earlier
from gradinc.studies.tables.specification import Table

CHECKOUT_RESULTS = PACKAGE.parent / "docs" / "results"
"""The folder of measured tables, in a checkout of gradinc."""

Times = Mapping[tuple[str, ...], list[float]]
"""Seconds of finished runs, by the overrides of their cell."""


def duration_of(table: Table, cells: Sequence[Cell], missing: Sequence[Job], earlier: Mapping[str, MeasuredRun]) -> str:
    """Return the expected duration of missing runs as text, with its basis.

    A row that was timed on this machine takes as long again. Other rows take as long as in a table's file, times the
    ratio of the two for the rows that have both; a row without any time takes as long as the mean row.

    Args:
        missing: missing runs of these cells, at least one.
        earlier: runs of a table's file; by default the runs in docs/results of a checkout.
    """
    here, there, source = _times_here(cells), _times_of(cells, earlier), "the file"
    if not there and (file := CHECKOUT_RESULTS / f"{table.name}.json").is_file():
        there, source = _times_of(cells, _published(file, table.name)), f"docs/results/{table.name}.json"
    both = [(fmean(here[key]), fmean(there[key])) for key in here if key in there]
    factor = sum(own for own, _ in both) / sum(other for _, other in both) if both else 1.0
    known = {key: factor * fmean(seconds) for key, seconds in there.items()}
    known |= {key: fmean(seconds) for key, seconds in here.items()}
    if not known:
        return f"known after the first run ({table.budget} for the whole table)"
    overrides = {job.directory: cell.overrides for cell in cells for job in cell.jobs.values()}
    usual = fmean(known.values())
    total = sum(known.get(overrides[job.directory], usual) for job in missing)
    processes = min(_processes(missing[0]), len(missing))
    basis = [counted(sum(map(len, here.values())), "run") + " here"] if here else []
    basis += [f"{counted(sum(map(len, there.values())), 'run')} in {source}"] if there else []
    pace = f"{processes} at a time" if processes > 1 else "one at a time"
    return f"about {duration_text(total / processes)}, {pace}, by {' and '.join(basis)}"


def _times_here(cells: Sequence[Cell]) -> Times:
    found: defaultdict[tuple[str, ...], dict[Path, float]] = defaultdict(dict)
    for cell in cells:
        for job in cell.jobs.values():
            result = read_result(job.directory / "result.json")
            if result is not None and result["status"] == "finished":
                found[cell.overrides][job.directory] = result["seconds"]
    return {key: list(seconds.values()) for key, seconds in found.items()}


def _times_of(cells: Sequence[Cell], runs: Mapping[str, MeasuredRun]) -> Times:
    found: defaultdict[tuple[str, ...], dict[str, float]] = defaultdict(dict)
    for cell in cells:
        for settings in cell.settings.values():
            run = runs.get(settings)
            if run is not None and run.status == "finished" and run.seconds:
                found[cell.overrides][settings] = run.seconds
    return {key: list(seconds.values()) for key, seconds in found.items()}


def _published(file: Path, name: str) -> Mapping[str, MeasuredRun]:
    """Return the runs of a file of the checkout; none if it is of another version."""
    try:
        return read_earlier(file, name)
    except UserError:
        return {}


def _processes(job: Job) -> int:
    """Return the number of runs at a time; one if a cluster decides it."""
    if job.cluster.name != "local":
        return 1
    from joblib import effective_n_jobs

    return int(effective_n_jobs(job.cluster.options["n_jobs"]))
