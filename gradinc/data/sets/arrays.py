"""Arrays of the calling program."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from gradinc.base.errors import UserError
from gradinc.base.objects import held
from gradinc.config.values import Count
from gradinc.data.arrays import finite_array
from gradinc.data.source import Source
from gradinc.data.targets import targets_of


@dataclass(frozen=True)
class ArrayPart:
    """Rows of one part, as they were given.

    Attributes:
        name: the argument that they were given as, for messages.
        x, y: inputs, shape (rows, …), and targets.
        part: their part; None for rows that are split.
        task: number of their task.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    part: int | None = None
    task: int = 0


def arrays_digest(parts: Sequence[ArrayPart]) -> str:
    """Return the digest of rows: of their bytes, their parts and their tasks."""
    whole = hashlib.sha256()
    for each in parts:
        whole.update(f"{each.part} {each.task}\n".encode())
        for array in (each.x, each.y):
            whole.update(f"{array.dtype.str} {array.shape}\n".encode())
            whole.update(np.ascontiguousarray(array).data)
    return whole.hexdigest()[:16]


def arrays(
    root: str | None,
    *,
    digest: str = "",
    task: Literal["auto", "classes", "values"] = "auto",
    classes: Count | None = None,
    standardize_target: bool = True,
) -> Source:
    """Your own arrays or tensors, from Python: gradinc.train(data=(x, y))

    Args:
        digest: digest of their bytes.
        task: meaning of y. auto: whole numbers are classes, others are values of a regression; classes; values.
        classes: number of classes; null for one more than the largest label.
        standardize_target: for regression, subtract the training targets' mean and divide by their deviation.
    """
    parts: Sequence[ArrayPart] = held("data", digest)
    if arrays_digest(parts) != digest:
        what = "was changed after it was given"
        raise UserError("data", what, "Give a copy, or give the changed arrays again: they are other data")
    x, scale = _inputs(parts)
    y, names = _targets(parts, task, classes)
    official = None
    if any(part.part is not None for part in parts):
        official = np.concatenate([np.full(len(each.x), each.part or 0, np.int8) for each in parts])
    tasks = np.concatenate([np.full(len(each.x), each.task, np.int64) for each in parts])
    standardize = names is None and standardize_target
    source = Source(x, y, names, official, scale, f"arrays of a Python program, {digest}", standardize)
    if not tasks.any():
        return source
    return replace(source, groups=tasks, group_names=tuple(f"task {number + 1}" for number in range(tasks.max() + 1)))


def _inputs(parts: Sequence[ArrayPart]) -> tuple[np.ndarray, float]:
    first = parts[0]
    for part in parts:
        if part.x.shape[1:] != first.x.shape[1:] or (part.x.dtype == np.uint8) != (first.x.dtype == np.uint8):
            what = f"has rows of shape {part.x.shape[1:]} and {part.x.dtype}"
            raise UserError(part.name, what, f"{first.name} has shape {first.x.shape[1:]} and {first.x.dtype}")
    x = np.concatenate([part.x for part in parts]) if len(parts) > 1 else first.x
    if x.dtype == np.uint8 and x.ndim > 2:
        return np.ascontiguousarray(x), 255.0
    return finite_array(Path(first.name), "x", x), 1.0


def _targets(
    parts: Sequence[ArrayPart], task: Literal["auto", "classes", "values"], classes: int | None
) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return labels and the names of classes, which are the numbers from 0; or values and None."""
    whole = np.concatenate([part.y.reshape(len(part.y), -1) for part in parts])
    found, names = targets_of(Path(parts[0].name), {"y": whole if whole.shape[1] > 1 else whole[:, 0]}, task)
    if names is None:
        return found, None
    labels = found if whole.shape[1] > 1 else whole[:, 0].astype(np.int64)
    low, high = int(labels.min()), int(labels.max())
    if low < 0:
        raise UserError(parts[0].name, f"y has the label {low}", "Give labels from 0")
    if classes is not None and high >= classes:
        raise UserError(f"data.classes={classes}", f"y has the label {high}", f"Use {high + 1} or more")
    return labels, tuple(map(str, range(classes or high + 1)))
