"""The size of a table and the number of its finished runs, for a list of tables."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gradinc.base.files import open_plain
from gradinc.config import groups
from gradinc.config.composer import Composer
from gradinc.config.identity import NEUTRAL, is_free
from gradinc.config.overrides import Assignment, latest
from gradinc.config.schema import Config
from gradinc.config.yaml_size import LARGEST_FILE
from gradinc.studies.tables.cells import Read, compose_cells, not_built, reader
from gradinc.studies.tables.plan import composing_state, kept_plan
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

    The plan that the last command of a table left is used, if it is still valid. Without one, the different runs are
    counted by their arguments. Composing them takes up to two seconds for a table, so only the rows are composed of
    whose names and numbers a run exists.

    Args:
        extra: the user's own ``key=value``.

    Raises:
        UserError: an override is wrong.
    """
    default = Composer(config_dirs).config([])
    existing = _Existing(Path(default.output))
    read, strategies = reader(config_dirs), groups.names("strategy", config_dirs)
    state = composing_state(config_dirs)
    for table in tables:
        plan = None if extra else kept_plan(Path(default.output), table, state)
        if plan is None:
            yield _size(table, extra, config_dirs, read, strategies, default, existing)
        else:
            finished = sum(status(Path(default.output) / name) == "finished" for name in plan.runs)
            yield TableSize(plan.built, plan.cells, finished, len(plan.runs))


def _size(
    table: Table,
    extra: Sequence[str],
    config_dirs: Sequence[Path],
    read: Read,
    strategies: Collection[str],
    default: Config,
    existing: _Existing,
) -> TableSize:
    cells = [(row, column) for row, line in table.rows.items() for column in line.columns or table.columns]
    absent = {
        row
        for row, line in table.rows.items()
        if not_built(line, strategies, read, f"table {table.name}: rows.{row}") is not None
    }
    own = [read(text) for text in extra]
    built = [
        (row, latest([*map(read, table.arguments(row, column)), *own])) for row, column in cells if row not in absent
    ]
    different = {
        (frozenset(assignment.text for assignment in each.values()), seed)
        for row, each in built
        for seed in table.seeds_of(row)
    }
    rows = dict.fromkeys(row for row, each in built if _may_exist(each, table.seeds_of(row), default, existing))
    jobs = jobs_of(compose_cells(table, list(rows), extra=extra, config_dirs=config_dirs)) if rows else {}
    finished = sum(status(place) == "finished" for place in jobs)
    return TableSize(len(built), len(cells), finished, len(different))


class _Existing:
    """The runs in an output directory, as far as they can be told apart without composing: their names and numbers."""

    def __init__(self, output: Path) -> None:
        self._output = output
        self.names = sorted(os.listdir(output)) if output.is_dir() else []
        self.numbers = cache(self._numbers)

    def _numbers(self, name: str) -> dict[str, set[float]]:
        """Return the numbers in a run's config by the last word of their keys."""
        found: defaultdict[str, set[float]] = defaultdict(set)
        try:
            with open_plain(self._output / name / "config.yaml") as file:
                lines = file.read(LARGEST_FILE).decode(errors="replace").splitlines()
        except OSError:
            return found
        for line in lines:  # as a run writes it: one key a line
            key, _, value = line.strip().partition(": ")
            with suppress(ValueError):
                found[key].add(float(value))
        return found


def _may_exist(
    assignments: Mapping[str, Assignment], seeds: Sequence[int], default: Config, existing: _Existing
) -> bool:
    """Return whether an existing directory can be a run with these arguments.

    Names begin with the data set, the model, the stream and the strategy, and the run's config has its numbers.
    """
    if {"experiment", "output", "data.name", "model.name", "stream.name", "strategy.name"} & assignments.keys():
        start = ""
    else:
        data = assignments["data"].value if "data" in assignments else default.data.name
        model = assignments["model"].value if "model" in assignments else default.model.name
        stream = assignments["stream"].value if "stream" in assignments else default.stream.name
        strategy = assignments["strategy"].value if "strategy" in assignments else NEUTRAL
        first = strategy[0] if isinstance(strategy, list) else strategy
        start = (
            f"{data}-{model}-" + ("" if stream == "iid" else f"{stream}-") + ("" if first == NEUTRAL else str(first))
        )
    numbers = {
        key.rpartition(".")[2]: float(each.value)
        for key, each in assignments.items()
        if type(each.value) in (int, float) and not each.deletes and not is_free(key)
    }
    ends = tuple(f"-s{seed}-" for seed in seeds)
    for name in existing.names:
        if name.startswith(start) and any(end in name for end in ends):
            known = existing.numbers(name)
            if all(value in known[key] for key, value in numbers.items() if key in known):
                return True
    return False
