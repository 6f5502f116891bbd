"""The size of a table and the number of its finished runs, for a list of tables."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradinc.config import groups
from gradinc.config.composer import Composer
from gradinc.config.overrides import Assignment, latest
from gradinc.config.schema import Config
from gradinc.studies.tables.cells import Read, compose_cells, not_built, reader
from gradinc.studies.tables.running import jobs_of, status
from gradinc.studies.tables.specification import Table


@dataclass(frozen=True)
class TableSize:
    """Counts of a table's cells and runs.

    Attributes:
        built: cells whose method is built.
        runs: different runs of these cells.
        finished: runs that are finished.
    """

    built: int
    cells: int
    finished: int
    runs: int


def sizes(tables: Sequence[Table], extra: Sequence[str] = (), config_dirs: Sequence[Path] = ()) -> Iterator[TableSize]:
    """Yield the size of each table.

    The different runs are counted by their arguments. Composing them takes up to two seconds for a table, so that is
    done only if a run of a table's data, model and stream exists, or if the user gives arguments.

    Args:
        extra: the user's own ``key=value``.

    Raises:
        UserError: an override is wrong.
    """
    default = Composer(config_dirs).config([])
    existing = os.listdir(default.output) if os.path.isdir(default.output) else []
    read, strategies = reader(config_dirs), groups.names("strategy", config_dirs)
    for table in tables:
        yield _size(table, extra, config_dirs, read, strategies, default, existing)


def _size(
    table: Table,
    extra: Sequence[str],
    config_dirs: Sequence[Path],
    read: Read,
    strategies: Collection[str],
    default: Config,
    existing: Sequence[str],
) -> TableSize:
    cells = [(row, column) for row, line in table.rows.items() for column in line.columns or table.columns]
    absent = {row for row, line in table.rows.items() if not_built(line, strategies, read) is not None}
    built = [table.arguments(row, column) for row, column in cells if row not in absent]
    by_key = [latest(map(read, arguments)) for arguments in built]
    if not extra and not any(_may_exist(each, default, existing) for each in by_key):
        different = {frozenset(assignment.text for assignment in each.values()) for each in by_key}
        return TableSize(len(built), len(cells), 0, len(different) * len(table.seeds))
    jobs = jobs_of(compose_cells(table, list(table.rows), table.seeds, extra, config_dirs)).values()
    return TableSize(len(built), len(cells), sum(status(job) == "finished" for job in jobs), len(jobs))


def _may_exist(assignments: Mapping[str, Assignment], default: Config, existing: Sequence[str]) -> bool:
    """Return whether an existing directory can be a run with these arguments.

    Names begin with the data set, the model and the stream.
    """
    if {"experiment", "output", "data.name", "model.name", "stream.name"} & assignments.keys():
        return True
    data = assignments["data"].value if "data" in assignments else default.data.name
    model = assignments["model"].value if "model" in assignments else default.model.name
    stream = assignments["stream"].value if "stream" in assignments else default.stream.name
    start = f"{data}-{model}-" + ("" if stream == "iid" else f"{stream}-")
    return any(name.startswith(start) for name in existing)
