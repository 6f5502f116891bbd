"""Arrays, tensors and data sets of a program as rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, TensorDataset

from gradinc.base.errors import UserError
from gradinc.data.sets.arrays import ArrayPart
from gradinc.data.source import REFERENCE, TEST, TRAIN, VALIDATION

_NEED = "Give (x, y), tensors or arrays, or a torch Dataset of such pairs"


def is_own_data(thing: Any) -> bool:
    """Return whether an argument is rows of the program: a pair of arrays, or a torch Dataset."""
    if isinstance(thing, Dataset):
        return True
    pair = isinstance(thing, tuple | list) and len(thing) == 2
    return pair and all(isinstance(each, Tensor) or hasattr(each, "__array__") for each in thing)


def is_own_stream(thing: Any) -> bool:
    """Return whether an argument is tasks of the program: a list of such rows."""
    return isinstance(thing, tuple | list) and len(thing) > 0 and all(is_own_data(each) for each in thing)


def given_parts(data: Any = None, stream: Any = None, test: Any = None, validation: Any = None) -> list[ArrayPart]:
    """Return the parts of a program's rows.

    Args:
        data: the rows; with a stream, the rows that decide the normalisation.
        stream: the rows of each task.
        test, validation: rows of these parts, or a list of them, one for each task of the stream.

    Raises:
        UserError: they are not rows, or don't match each other.
    """
    if stream is not None and not is_own_stream(stream):
        raise UserError("stream", "is no list of tasks", f"{_NEED}, for each task")
    if data is not None and not is_own_data(data):
        raise UserError("data", f"is a {type(data).__name__}", _NEED)
    tasks = [data] if stream is None else list(stream)
    where = "data" if stream is None else "stream[{}]"
    more = {"test": (TEST, test), "validation": (VALIDATION, validation)}
    explicit = {name: number for name, (number, rows) in more.items() if rows is not None}
    number = TRAIN if explicit or (stream is not None and data is not None) else None
    parts = [_part(where.format(task), rows, number, task) for task, rows in enumerate(tasks)]
    for name, part in explicit.items():
        rows = more[name][1]
        each = [rows] if stream is None else list(rows) if is_own_stream(rows) else []
        if len(each) != len(tasks) or not all(is_own_data(one) for one in each):
            need = _NEED if stream is None else f"Give a list of {len(tasks)}, one for each task"
            raise UserError(name, "is no rows" if stream is None else "does not match the stream", need)
        label = name if stream is None else f"{name}[{{}}]"
        parts += [_part(label.format(task), one, part, task) for task, one in enumerate(each)]
    if stream is not None and data is not None:
        parts.append(_part("data", data, REFERENCE, 0))
    return parts


def _part(name: str, rows: Any, number: int | None, task: int) -> ArrayPart:
    given_x, given_y = _read(name, rows) if isinstance(rows, Dataset) else rows
    x, y = _array(name, "x", given_x), _array(name, "y", given_y)
    if len(x) != len(y):
        raise UserError(name, f"x has {len(x)} rows, y has {len(y)}", "Give as many targets as rows")
    if len(x) == 0 or x.ndim < 2:
        raise UserError(name, f"x has shape {x.shape}", "Give (rows, features), or (rows, channels, height, width)")
    return ArrayPart(name, x, y, number, task)


def _array(name: str, which: str, thing: Any) -> np.ndarray:
    if isinstance(thing, Tensor):
        thing = thing.detach().cpu()
        thing = (thing.float() if thing.dtype in (torch.bfloat16, torch.float16) else thing).numpy()
    array = np.asarray(thing)
    if array.dtype.kind not in "biuf":
        raise UserError(name, f"{which} holds {array.dtype}, not numbers", "Give arrays of numbers")
    return array


def _read(name: str, rows: Dataset[Any]) -> tuple[Any, Any]:
    """Return all rows of a data set: every item is taken once, in order."""
    if isinstance(rows, TensorDataset) and len(rows.tensors) == 2:
        return rows.tensors
    if isinstance(rows, IterableDataset) or not hasattr(rows, "__len__"):
        raise UserError(name, "is a Dataset without a length", "Give one with __len__ and __getitem__")
    items: Sequence[Any] = [rows[index] for index in range(len(rows))]
    if not items or any(isinstance(each, Mapping) or len(each) != 2 for each in items):
        raise UserError(name, "is a Dataset whose items are no pairs (x, y)", _NEED)
    return _stacked(name, [each[0] for each in items]), _stacked(name, [each[1] for each in items])


def _stacked(name: str, values: Sequence[Any]) -> Any:
    arrays = [_array(name, "an item", each) for each in values]
    if len({each.shape for each in arrays}) > 1:
        raise UserError(name, "has items of different shapes", "Give rows of one shape")
    return np.stack(arrays)
