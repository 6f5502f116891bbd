"""The size of a table and the number of its finished runs, for a list of tables."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gradinc.config import groups
from gradinc.config.composer import Composer
from gradinc.config.identity import NEUTRAL
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

    The different runs are counted by their arguments. Composing them takes up to two seconds for a table, so only the
    rows are composed of whose data, model, stream and strategy a run exists, or all rows if the user gives arguments.

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
    built = [(row, latest(map(read, table.arguments(row, column)))) for row, column in cells if row not in absent]
    different = {frozenset(assignment.text for assignment in each.values()) for _, each in built}
    rows = dict.fromkeys(row for row, each in built if extra or _may_exist(each, default, existing))
    jobs = jobs_of(compose_cells(table, list(rows), table.seeds, extra, config_dirs)).values()
    finished = sum(status(job) == "finished" for job in jobs)
    return TableSize(len(built), len(cells), finished, len(different) * len(table.seeds))


def _may_exist(assignments: Mapping[str, Assignment], default: Config, existing: Sequence[str]) -> bool:
    """Return whether an existing directory can be a run with these arguments.

    Names begin with the data set, the model, the stream and the strategy.
    """
    if {"experiment", "output", "data.name", "model.name", "stream.name", "strategy.name"} & assignments.keys():
        return True
    data = assignments["data"].value if "data" in assignments else default.data.name
    model = assignments["model"].value if "model" in assignments else default.model.name
    stream = assignments["stream"].value if "stream" in assignments else default.stream.name
    strategy = assignments["strategy"].value if "strategy" in assignments else NEUTRAL
    first = strategy[0] if isinstance(strategy, list) else strategy
    start = f"{data}-{model}-" + ("" if stream == "iid" else f"{stream}-") + ("" if first == NEUTRAL else str(first))
    return any(name.startswith(start) for name in existing)
