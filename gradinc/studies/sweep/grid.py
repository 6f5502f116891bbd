"""A sweep with a name: its folder, and the grid that the folder belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gradinc.base.errors import UserError
from gradinc.base.files import storing, write_json
from gradinc.config.compose import Job
from gradinc.config.identity import identified
from gradinc.config.names import shown
from gradinc.records.schemas import SWEEP_FILE, is_run, read_json
from gradinc.records.seal import is_intact, seal

LONGEST_LIST = 8
"""Largest number of values of a key that a message lists."""


def check_grid(folder: Path, jobs: Sequence[Job]) -> None:
    """Compare a sweep with the one that its folder was made for: more runs, such as more seeds, or fewer are accepted.

    Raises:
        UserError: the folder was not made by a sweep, its grid had other values, or its grid is unknown.
    """
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(str(folder), "is a link or a file, where the sweep's folder should be", "Use another name=…")
    if (folder / "config.yaml").exists():
        raise UserError(str(folder), "is the directory of a run, and a sweep has several", "Use another name=…")
    if not folder.exists():
        return
    record = _record(folder)
    if record is None:
        names = {path.name for path in folder.iterdir() if not path.name.startswith(".")} - {SWEEP_FILE}
        if names <= set(_runs(jobs)):  # a run's name identifies what it computes, so there is no ambiguity
            return
        if any(is_run(folder / name) for name in names):
            what = "is missing or damaged, and there are runs of another grid in the folder"
            raise UserError(str(folder / SWEEP_FILE), what, "Restore it, or use another name=…")
        raise UserError(str(folder), "is not the folder of a sweep", "Use another name=…")
    before, now = record["grid"], _grid(jobs)
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    old, new = set(record["runs"]), set(_runs(jobs))
    if old <= new or new <= old:
        return
    if keys:
        rest = [*keys[1:LONGEST_LIST], *(["…"] if len(keys) > LONGEST_LIST else [])]
        more = f"; {', '.join(rest)} also changed" if rest else ""
        what = f"was started with {_values(keys[0], before)}, now {_values(keys[0], now)}{more}"
    else:
        what = f"was started with {len(record['runs'])} other runs of the same values, now {len(jobs)}"
    raise UserError(
        str(folder), what, "Use a new name=…, leave name out to run only what is new, or keep the old values"
    )


def write_grid(folder: Path, jobs: Sequence[Job], command: str) -> None:
    """Store the grid that a sweep is started with, unless one with these runs is already stored."""
    record = _record(folder)
    if record is None or not set(_runs(jobs)) <= set(record["runs"]):
        with storing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        record = {"command": command, "grid": _grid(jobs), "runs": _runs(jobs)}
        write_json(folder / SWEEP_FILE, seal(record, folder))


def _record(folder: Path) -> dict[str, Any] | None:
    """Return the content of the folder's file, or None if it is missing or damaged."""
    record = read_json(folder / SWEEP_FILE) or {}
    if not is_intact(record):
        return None
    grid, runs = record.get("grid"), record.get("runs")
    lists = isinstance(grid, dict) and all(isinstance(values, list) for values in grid.values())
    return record if lists and isinstance(runs, list) and all(isinstance(run, str) for run in runs) else None


def _grid(jobs: Sequence[Job]) -> dict[str, list[Any]]:
    """Return the values of each key in the sweep, in the order of their first appearance."""
    grid: dict[str, list[Any]] = {}
    for job in jobs:
        for key, value in identified(job.config.document).items():
            values = grid.setdefault(key, [])
            if value not in values:
                values.append(value)
    return grid


def _runs(jobs: Sequence[Job]) -> list[str]:
    return [job.directory.name for job in jobs]


def _values(key: str, grid: dict[str, Any]) -> str:
    if key not in grid:
        return f"no {key}"
    values = [shown(value) for value in grid[key]]
    return f"{key}=" + ",".join(values[:LONGEST_LIST]) + (",…" if len(values) > LONGEST_LIST else "")
