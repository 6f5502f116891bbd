"""Conversion of targets from a user's file to classes or values; ambiguous arrays are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np

from gradinc.base.errors import UserError
from gradinc.data.arrays import Arrays, finite_array

TargetKind = Literal["auto", "classes", "values"]

MOST_CLASSES = 1000
"""Largest number of different whole numbers that are recognised as classes."""

FEW_CLASSES, ROWS_OF_CLASS = 20, 5
"""Number of classes above which this mean number of rows per class is required."""

EITHER = "Give data.task=classes or data.task=values"


def targets_of(path: Path, arrays: Arrays, task: TargetKind) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the targets of all parts as one array, the training part's first.

    Args:
        path: their file, for messages.
        arrays: targets by name, one array for each part.
        task: ``classes``, ``values``, or ``auto``: whole numbers are classes, others are values.

    Returns:
        Labels, int64, shape (n,), and the classes' names, which are the numbers that occur in the
        first part; or values, float32, shape (n, targets), and None.

    Raises:
        UserError: they cannot be targets, do not match each other, contain NaN or Inf, or are ambiguous.
    """
    first, *others = arrays
    for name, array in arrays.items():
        if array.ndim not in (1, 2):
            fix = "Save labels as (rows,), values as (rows,) or (rows, targets)"
            raise UserError(str(path), f"{name} has shape {array.shape}", fix)
    columns = {name: array.reshape(len(array), -1) for name, array in arrays.items()}
    for name in others:
        if columns[name].shape[1] != columns[first].shape[1]:
            raise UserError(
                str(path), f"{', '.join(arrays)} have different numbers of targets", "Save the same for all"
            )
        if task == "auto" and _is_whole(arrays[name]) != _is_whole(arrays[first]):
            what = f"{name} is {arrays[name].dtype}, {first} is {arrays[first].dtype}"
            raise UserError(str(path), what, "Save all targets in one dtype")
    whole = np.concatenate(list(columns.values()))
    values = finite_array(path, first.partition("_")[0], whole)
    if task == "auto":
        _refuse_doubt(path, first, whole, integers=_is_whole(arrays[first]))
    if task == "values" or (task == "auto" and not _is_whole(arrays[first])):
        return values, None
    return _labels(path, {name: _numbers(path, name, array) for name, array in columns.items()})


def _is_whole(array: np.ndarray) -> bool:
    return array.dtype.kind in "biu"


def _refuse_doubt(path: Path, name: str, y: np.ndarray, *, integers: bool) -> None:
    """Refuse targets that could be classes as well as values.

    Args:
        y: targets of all parts, shape (n, targets).
    """
    name = name.partition("_")[0]
    if y.shape[1] > 1 and _is_one_hot(y):
        raise UserError(str(path), f"{name} holds one-hot rows: classes or values?", EITHER)
    if y.shape[1] > 1 and (integers or bool(((y == 0) | (y == 1)).all())):
        what = f"{name} has shape {y.shape} and whole numbers, which are not classes"
        raise UserError(str(path), what, "Save labels as (rows,), or give data.task=values")
    if y.shape[1] > 1:
        return
    count = len(np.unique(y))
    if not integers and bool((y == np.round(y)).all()):
        what = f"{name} holds {count:,} different whole numbers as {y.dtype}: classes or values?"
        raise UserError(str(path), what, EITHER)
    if integers and (count > MOST_CLASSES or (count > FEW_CLASSES and len(y) < ROWS_OF_CLASS * count)):
        what = f"{name} holds {count:,} different whole numbers in {len(y):,} rows: classes or values?"
        raise UserError(str(path), what, EITHER)


def _is_one_hot(y: np.ndarray) -> bool:
    return bool(((y == 0) | (y == 1)).all() and (y.sum(1) == 1).all())


def _numbers(path: Path, name: str, y: np.ndarray) -> np.ndarray:
    """Return the label of each row, shape (n,), from one column of whole numbers or from one-hot rows."""
    if y.shape[1] > 1:
        if not _is_one_hot(y):
            fix = "Save labels as (rows,) or as one-hot rows"
            raise UserError(str(path), f"{name} has shape {y.shape} and rows that are not one-hot", fix)
        return y.argmax(1)
    y = y[:, 0]
    if not _is_whole(y):
        broken = np.flatnonzero(y != np.round(y))
        if len(broken):
            what = f"row {broken[0]} of {name} holds {y[broken[0]]:g}, which is not a class"
            raise UserError(str(path), what, "Give data.task=values, or save whole numbers")
        y = y.astype(np.int64)
    return y


def _labels(path: Path, arrays: Arrays) -> tuple[np.ndarray, tuple[str, ...]]:
    first, *others = arrays
    values = np.unique(arrays[first])
    if len(values) < 2:
        raise UserError(str(path), f"{first} holds one class only ({values[0]})", "Save at least two")
    for name in others:
        new = np.setdiff1d(arrays[name], values)
        if len(new):
            raise UserError(str(path), f"{name} has label {new[0]}, which {first} has not", "Train on every class")
    y = np.concatenate([np.searchsorted(values, array) for array in arrays.values()])
    return y.astype(np.int64), tuple(str(value) for value in values.tolist())
