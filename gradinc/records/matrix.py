"""The accuracy matrix in the result of a run on a sequence of tasks, and its metrics after each task."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import fmean
from typing import Any, overload

from gradinc.base.files import open_plain
from gradinc.records import metrics
from gradinc.records.curves import Points
from gradinc.records.metrics import Matrix
from gradinc.records.recorded import RecordedRun, finite

MatrixRow = list[float | None] | dict[str, float]
"""A row of a recorded matrix: the accuracy on every task, None if not measured; or the accuracy on the measured tasks
only, by the number of the task from 0."""


def cells(row: MatrixRow, tasks: int) -> list[float | None]:
    """Return the accuracy on the first tasks, None if not measured."""
    if isinstance(row, dict):
        return [row.get(str(task)) for task in range(tasks)]
    return [*row[:tasks], *[None] * (tasks - len(row))]


class Filled(Sequence[list[float | None]]):
    """The matrix of recorded rows, each row made when it is read: of thousands of tasks, most cells are not measured.

    Args:
        rows: the recorded rows.
        tasks: number of tasks; None follows from the rows. Without a whole row there is one row for each task, and one
            row before them.
    """

    def __init__(self, rows: Sequence[MatrixRow], tasks: int | None = None) -> None:
        whole = [len(row) for row in rows if isinstance(row, list)] if tasks is None else [tasks]
        self._rows, self._tasks = rows, max(whole, default=len(rows) - 1)

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, index: int) -> list[float | None]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[list[float | None]]: ...
    def __getitem__(self, index: int | slice) -> list[float | None] | Sequence[list[float | None]]:
        if isinstance(index, slice):
            return Filled(self._rows[index], self._tasks)
        return cells(self._rows[index], self._tasks)


def logged_rows(log: Path, length: int) -> dict[str, list[Any]]:
    """Return what the first bytes of a run's log have for each task, by the keys in its lines.

    The keys are ``row``, ``task_row``, ``loss_row`` and ``bits_row``, the rows of the matrices, and ``task_online``,
    the online measure of a task.
    """
    rows: dict[str, list[Any]] = {"row": [], "task_row": [], "task_online": [], "loss_row": [], "bits_row": []}
    with suppress(OSError, ValueError), open_plain(log) as file:  # opening the log for writing reports any damage
        for text in file.read(length).splitlines():
            line = json.loads(text) if b'"row"' in text or b'"task_online"' in text else {}
            for key in rows.keys() & line.keys():
                rows[key].append(line[key])
    return rows


def accuracy_matrix(run: RecordedRun, name: str = "matrix") -> Matrix | None:
    """Return the matrix of a name in the result; None if there is none, or only one task."""
    rows: Any = run.result.get(name)
    if not isinstance(rows, list) or len(rows) < 2 or not all(isinstance(row, list | dict) for row in rows):
        return None
    matrix = Filled(rows)
    tasks = len(matrix[0])
    if tasks < 2 or len(rows) not in (2, tasks + 1):
        return None
    return [[finite(value) for value in row] for row in matrix]


def mean_matrix(matrices: Sequence[Matrix]) -> Matrix:
    """Return the mean of matrices of one shape, entry by entry, over the matrices that have the entry."""
    columns, rows = range(len(matrices[0][0])), range(len(matrices[0]))
    entries = [[[v for m in matrices if (v := m[i][j]) is not None] for j in columns] for i in rows]
    return [[fmean(values) if values else None for values in row] for row in entries]


def together(matrix: Matrix) -> bool:
    """Return whether all tasks were trained on at once."""
    return len(matrix) != len(matrix[0]) + 1


def mean_accuracy(matrix: Matrix) -> Points:
    """Return the mean accuracy after each number of tasks on the tasks so far, or on all if trained together.

    Empty if some of them were not measured.
    """
    if together(matrix):
        return _curve(metrics.acc, [(len(matrix[0]), matrix)])
    return _curve(metrics.acc, ((i, _after(matrix, i)) for i in range(1, len(matrix))))


def forgetting_curve(matrix: Matrix) -> Points:
    """Return the forgetting of earlier tasks after each number of tasks but the first.

    Empty if some accuracies on them were not measured.
    """
    if together(matrix):
        return []
    return _curve(metrics.forgetting, ((i, _after(matrix, i)) for i in range(2, len(matrix))))


def _after(matrix: Matrix, tasks: int) -> Matrix:
    """Return the matrix after a number of tasks, of these tasks."""
    return [row[:tasks] for row in matrix[: tasks + 1]]


def _curve(metric: Callable[[Matrix], float], matrices: Iterable[tuple[int, Matrix]]) -> Points:
    try:
        return [(float(tasks), metric(matrix)) for tasks, matrix in matrices]
    except metrics.Undefined:
        return []
