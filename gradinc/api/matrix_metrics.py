"""``gradinc.metrics``: the metrics of any accuracy matrix."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from gradinc.base.errors import UserError
from gradinc.records.metrics import measured_metrics


def metrics(matrix: Any, baseline: Iterable[float] | None = None) -> dict[str, float | None]:
    """Return the metrics of an accuracy matrix: ``acc``, ``aia``, ``la``, ``bwt``, ``forgetting`` and ``fwt``.

    They are the functions of `gradinc.records.metrics`, where each has its formula and its source.

    Args:
        matrix: accuracy on each task (columns) after the training on each task (rows), T × T: lists, an array or a
            tensor. NaN or None is a cell that was not measured. With T + 1 rows the first row is before any training.
        baseline: accuracy on each task before any training, for a matrix of T × T; only ``fwt`` needs it.

    Returns:
        A number for each metric, in the matrix's own unit; None for a metric that has no value, such as ``bwt`` of a
        single task, or ``fwt`` without a baseline.

    Raises:
        gradinc.UserError: the matrix is neither T × T nor (T + 1) × T.
    """
    rows = [[_cell(value) for value in row] for row in _lists(matrix)]
    tasks = len(rows[0]) if rows else 0
    if tasks == 0 or any(len(row) != tasks for row in rows) or len(rows) not in (tasks, tasks + 1):
        what = f"has {len(rows)} rows and {tasks} columns"
        raise UserError("matrix", what, "Give a row after each task, and a column for each task")
    if baseline is not None:
        first = [_cell(value) for value in _lists(baseline)]
        if len(first) != tasks or len(rows) != tasks:
            raise UserError("baseline", "does not fit the matrix", f"Give {tasks} numbers, for a matrix of T rows")
        rows.insert(0, first)
    elif len(rows) == tasks:
        rows.insert(0, [None] * tasks)
    return measured_metrics(rows)[0]


def _lists(thing: Any) -> Sequence[Any]:
    found = thing.tolist() if hasattr(thing, "tolist") else list(thing)
    assert isinstance(found, list)
    return found


def _cell(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
