"""The runs of a table's cells, all composed and checked before the first one starts."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from gradinc.base.errors import UserError
from gradinc.config import groups
from gradinc.config.compose import Job, named_alike
from gradinc.config.composer import Composer
from gradinc.config.identity import as_name, changed
from gradinc.config.names import choose, has_near, nearest_word, shown
from gradinc.config.overrides import Assignment, latest, parse, refuse_sweeps
from gradinc.records.metrics import LEFT_OUT
from gradinc.studies.tables.reading import read_table
from gradinc.studies.tables.settings import as_they_were_run, settings_digest
from gradinc.studies.tables.specification import Row, Table

HIDDEN = ("output", "progress", "track", "fresh", "cluster")
"""Keys that are left out of displayed commands: they choose where runs are made and stored, and their display."""

SET_BY_TABLE = ("seed", "name")
"""Keys in which the runs of a cell differ, or by which they are found."""

Read = Callable[[str], Assignment]
"""Returns the assignment that a text of a table or of the command line makes."""

ONCE = "fresh"
"""Keys for a single command: in a table's file they would repeat every run each time."""


@dataclass(frozen=True)
class Cell:
    """One row's number in one column.

    Attributes:
        jobs: its runs, by seed; empty if the method is not built.
        missing: reason for a row without runs, such as a method that is not implemented.
        overrides: the overrides of all its runs, in the order in which they are applied, without the seed.
        altered: the first key in which its runs differ from the published ones, by the user's own overrides.
        changes: these overrides, each with the table's value.
        data: the data set of its runs.
    """

    row: str
    column: str
    jobs: dict[int, Job]
    missing: str | None
    overrides: tuple[str, ...]
    altered: str | None = None
    changes: Mapping[str, str] = field(default_factory=dict)
    data: str | None = None

    @cached_property
    def settings(self) -> dict[int, str]:
        """The digest of the settings of each run, by seed."""
        return {seed: settings_digest(job.config.document) for seed, job in self.jobs.items()}

    @property
    def command(self) -> str | None:
        """The command that trains only the runs of this cell."""
        if not self.jobs:
            return None
        several = "-m " if len(self.jobs) > 1 else ""
        seeds = ",".join(map(str, self.jobs))
        return f"gradinc train {several}{shlex.join(self.overrides)} seed={seeds}"


def open_table(name: str, config_dirs: Sequence[Path] = ()) -> Table:
    """Return the table of this name.

    Raises:
        UserError: the table does not exist, or its file is invalid.
    """
    names = groups.names("table", config_dirs)
    if name not in names:
        own = "" if config_dirs or has_near(name, names) else "; a table of your own needs --config-dir DIR"
        raise UserError(f"table {name}", "unknown", choose(name, names) + own)
    return read_table(name, groups.content("table", name, config_dirs))


def chosen_rows(table: Table, wanted: Sequence[str] | None) -> list[str]:
    """Return the chosen rows, in the table's order.

    Raises:
        UserError: a row does not exist.
    """
    for row in wanted or ():
        if row not in table.rows:
            raise UserError(f"--rows {row}", f"table {table.name} has no such row", choose(row, list(table.rows)))
    return [row for row in table.rows if wanted is None or row in wanted]


def with_seeds(cell: Cell, seeds: Collection[int]) -> Cell:
    """Return a cell with these of its seeds only."""
    return replace(cell, jobs={seed: job for seed, job in cell.jobs.items() if seed in seeds})


def changes_made(cells: Iterable[Cell]) -> dict[str, list[str]]:
    """Return the user's overrides that change what is computed, each with the different values that the table has."""
    found: dict[str, dict[str, None]] = {}
    for cell in cells:
        for override, value in cell.changes.items():
            found.setdefault(override, {})[value] = None
    return {override: list(values) for override, values in found.items()}


def file_name(table: Table, cells: Sequence[Cell]) -> str:
    """Return the name of a table's files, without ending.

    A table that the user's overrides have changed is another one: ``der_rotated,data=fashion_mnist``.
    """
    return as_name(",".join([table.name, *changes_made(cells)]))


def reader(config_dirs: Sequence[Path]) -> Read:
    """Return a function that parses a text once: the rows of a table share most of their overrides."""
    return cache(lambda text: parse(text, config_dirs))


def compose_cells(
    table: Table,
    rows: Sequence[str],
    seeds: Collection[int] | None = None,
    extra: Sequence[str] = (),
    config_dirs: Sequence[Path] = (),
    beside: Collection[str] = (),
) -> list[Cell]:
    """Compose every run of some rows.

    Overrides are applied in this order: the table's protocol, the column's, the row's, the cell's, the user's.

    Args:
        seeds: the seeds of every row; by default each row's own.
        extra: the user's own ``key=value``.
        beside: other rows, whose cells are only shown: if an override is wrong for one of them, it has no runs.

    Raises:
        UserError: an override is wrong.
    """
    composer, read, strategies = Composer(config_dirs), reader(config_dirs), groups.names("strategy", config_dirs)
    own = [read(text) for text in extra]
    refuse_sweeps(own)
    composed: dict[tuple[Any, ...], Cell] = {}  # columns that are read from the same runs are composed once
    cells = []
    for row in [*rows, *(each for each in beside if each not in rows)]:
        line, wanted = table.rows[row], sorted(table.seeds_of(row) if seeds is None else seeds)
        for column in line.columns or table.columns:
            texts = table.arguments(row, column)
            where = f"table {table.name}: rows.{row}, column {column}"
            try:
                if (missing := not_built(line, strategies, read, where)) is not None:
                    cells.append(Cell(row, column, {}, missing, texts))
                    continue
                if (runs := (texts, *wanted)) not in composed:
                    composed[runs] = _compose(texts, wanted, own, composer, read, where, (row, column))
                cell = replace(composed[runs], row=row, column=column)
                _check_measured(table, cell)
            except UserError as error:
                if row in rows:
                    raise
                cell = Cell(row, column, {}, str(error), texts)
            cells.append(cell)
    asked = {table.arguments(cell.row, cell.column) for cell in cells if cell.row in rows and cell.jobs}
    lines = [[*map(read, texts), *own] for texts in sorted(asked)] if own else []
    for each in own:
        if lines and not any(each in composer.fitting(line) for line in lines):
            composer.run(lines[0])  # no row has the option's part: this raises an error that names the part
    cells.sort(key=lambda cell: list(table.rows).index(cell.row))
    jobs = iter(as_they_were_run(named_alike([job for cell in cells for job in cell.jobs.values()])))
    return [replace(cell, jobs={seed: next(jobs) for seed in cell.jobs}) for cell in cells]


def _check_measured(table: Table, cell: Cell) -> None:
    """Check that a cell's runs measure the accuracies that its metric needs.

    Raises:
        UserError: they do not.
    """
    name = table.columns[cell.column].quantity.name
    for tasks in {job.config.evaluate.tasks for job in cell.jobs.values()}:
        if name.partition(".")[0] not in ("metrics", "task_metrics") or name.split(".")[-1] not in LEFT_OUT.get(
            tasks, ()
        ):
            continue
        what = f"{name} is not measured with evaluate.tasks={tasks}"
        raise UserError(f"table {table.name}: rows.{cell.row}, column {cell.column}", what, "Use evaluate.tasks=seen")


def not_built(row: Row, strategies: Collection[str], read: Read, where: str) -> str | None:
    """Return the strategy of a row that is not among the existing ones, or None.

    Args:
        where: the row, for messages.

    Raises:
        UserError: an override cannot be read, or its strategy is probably a misspelling of an existing one.
    """
    if row.overrides is None:
        return row.absent
    for override in [*row.overrides, *(each for overrides in row.cells.values() for each in overrides)]:
        try:
            assignment = read(override)
        except UserError as error:
            raise UserError(f"{where}: {error.where}", error.what, error.fix) from error
        if assignment.key == "strategy" and assignment.is_choice:
            names = assignment.value if isinstance(assignment.value, list) else [assignment.value]
            for name in names:
                if shown(name) not in strategies:
                    if near := nearest_word(shown(name), strategies):
                        fix = (
                            f"Did you mean {near}? For a method that is not built, write absent: why, without overrides"
                        )
                        raise UserError(f"{where}: {override}", "unknown", fix)
                    return f"method not built (strategy={shown(name)})"
    return None


def _compose(
    texts: Sequence[str],
    seeds: Sequence[int],
    own: Sequence[Assignment],
    composer: Composer,
    read: Read,
    where: str,
    label: tuple[str, str],
) -> Cell:
    """Compose the runs of a cell.

    Args:
        label: row and column, which identify its jobs in progress reports.

    Raises:
        UserError: an override is wrong; the message names the table's own overrides with `where`.
    """
    try:
        published = [read(text) for text in texts]
        refuse_sweeps(published)
        for each in published:
            if each.key in SET_BY_TABLE:
                raise UserError(each.text, "is set by the table", "Leave it out; seeds: lists its seeds")
            if each.key == ONCE:
                raise UserError(each.text, "would make its runs again each time", "Give it on the command line")
        as_published, cluster = composer.run(published)
    except UserError as error:
        raise UserError(f"{where}: {error.where}", error.what, error.fix) from error
    config = as_published
    own = [a for a in own if a in composer.fitting([*published, *own])]  # without options of other rows' parts
    if own:
        config, cluster = composer.run([*published, *own])
    if any("${" in text for text in texts):  # another value depends on the seed
        configs = {seed: composer.config([*published, *own, parse(f"seed={seed}")]) for seed in seeds}
    else:
        configs = {seed: replace(config, seed=seed) for seed in seeds}
    jobs = {seed: Job((*label, f"seed={seed}"), configs[seed], cluster) for seed in seeds}
    shown_keys = [a for a in latest([*published, *own]).values() if a.key.split(".")[0] not in HIDDEN]
    overrides = tuple(map(_as_given, shown_keys))
    keys = [key for key, _, _ in changed(as_published.document, config.document) if key not in ("seed", "data.root")]
    made = _changes(keys, as_published.document, own)
    return Cell("", "", jobs, None, overrides, next(iter(keys), None), made, config.data.name)


def _as_given(assignment: Assignment) -> str:
    return f"~{assignment.key}" if assignment.deletes else f"{assignment.key}={assignment.raw}"


def _changes(keys: Sequence[str], published: Mapping[str, Any], own: Sequence[Assignment]) -> dict[str, str]:
    """Return the user's overrides that change some of these keys, each with the published value.

    Args:
        keys: the keys that they change together.
        published: the config of the table's own runs.
    """
    found = {}
    for each in latest(own).values():
        if each.key == "experiment" or any(f"{key}.".startswith(f"{each.key}.") for key in keys):
            value: Any = published
            for word in each.key.split("."):
                value = value.get(word) if isinstance(value, Mapping) else None
            if each.is_choice and isinstance(value, Mapping):
                value = value.get("name")
            if shown(value) != shown(each.value):
                found[_as_given(each)] = shown(value)
    return found if keys else {}
