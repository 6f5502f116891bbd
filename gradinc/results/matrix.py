"""The accuracy matrix of a run on a sequence of tasks, as its result has it."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import Any

from gradinc.results.recorded import RecordedRun, finite

Matrix = list[list[float | None]]
"""Accuracy on each task (columns) before training (first row) and after each task (the others)."""


def accuracy_matrix(run: RecordedRun, name: str = "matrix") -> Matrix | None:
    """The matrix under a name in the result; None where there is none, or only one task."""
    rows: Any = run.result.get(name)
    if not isinstance(rows, list) or len(rows) < 3 or not all(isinstance(row, list) for row in rows):
        return None
    tasks = max(len(row) for row in rows)
    return [[finite(value) for value in [*row, *[None] * (tasks - len(row))]] for row in rows] if tasks > 1 else None


def mean_matrix(matrices: Sequence[Matrix]) -> Matrix:
    """The mean of matrices of one shape, entry by entry, of those that have the entry."""
    columns, rows = range(len(matrices[0][0])), range(len(matrices[0]))
    entries = [[[m[i][j] for m in matrices] for j in columns] for i in rows]
    return [[_mean(values) for values in row] for row in entries]


def seen(matrix: Matrix) -> list[float | None]:
    """Mean accuracy over the tasks seen so far, after each task: mean_{j≤i} R[i,j]."""
    return [_mean(matrix[i][:i]) for i in range(1, len(matrix))]


def forgetting(matrix: Matrix) -> list[float | None]:
    """Forgetting after each task but the first: mean_{j<i} (max_{j≤k<i} R[k,j] − R[i,j])."""
    values: list[float | None] = []
    for i in range(2, len(matrix)):
        lost = []
        for j in range(1, min(i, len(matrix[0]) + 1)):
            before = [v for k in range(j, i) if (v := matrix[k][j - 1]) is not None]
            now = matrix[i][j - 1]
            if before and now is not None:
                lost.append(max(before) - now)
        values.append(fmean(lost) if lost else None)
    return values


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
