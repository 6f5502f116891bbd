"""The accuracy matrix in the result of a run on a sequence of tasks, and its metrics after each task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any

from gradinc.records import metrics
from gradinc.records.curves import Points
from gradinc.records.metrics import Matrix
from gradinc.records.recorded import RecordedRun, finite


def accuracy_matrix(run: RecordedRun, name: str = "matrix") -> Matrix | None:
    """Return the matrix of a name in the result; None if there is none, or only one task."""
    rows: Any = run.result.get(name)
    if not isinstance(rows, list) or len(rows) < 2 or not all(isinstance(row, list) for row in rows):
        return None
    tasks = max(len(row) for row in rows)
    if tasks < 2 or len(rows) not in (2, tasks + 1):
        return None
    return [[finite(value) for value in [*row, *[None] * (tasks - len(row))]] for row in rows]


def mean_matrix(matrices: Sequence[Matrix]) -> Matrix:
    """Return the mean of matrices of one shape, entry by entry, over the matrices that have the entry."""
    columns, rows = range(len(matrices[0][0])), range(len(matrices[0]))
    entries = [[[v for m in matrices if (v := m[i][j]) is not None] for j in columns] for i in rows]
    return [[fmean(values) if values else None for values in row] for row in entries]


def together(matrix: Matrix) -> bool:
    """Return whether all tasks were trained on at once."""
    return len(matrix) != len(matrix[0]) + 1


def mean_accuracy(matrix: Matrix) -> Points:
    """Return the mean accuracy after each number of tasks on the tasks so far, or on all if trained together."""
    if together(matrix):
        return _defined(len(matrix[0]), metrics.acc, matrix)
    return [point for i in range(1, len(matrix)) for point in _defined(i, metrics.acc, _after(matrix, i))]


def forgetting_curve(matrix: Matrix) -> Points:
    """Return the forgetting of earlier tasks after each number of tasks but the first."""
    if together(matrix):
        return []
    return [point for i in range(2, len(matrix)) for point in _defined(i, metrics.forgetting, _after(matrix, i))]


def _after(matrix: Matrix, tasks: int) -> Matrix:
    """Return the matrix after a number of tasks, of these tasks."""
    return [row[:tasks] for row in matrix[: tasks + 1]]


def _defined(tasks: int, metric: Callable[[metrics.Matrix], float], matrix: Matrix) -> Points:
    try:
        return [(float(tasks), metric(matrix))]
    except metrics.Undefined:
        return []
