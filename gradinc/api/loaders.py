"""Rows and batches of a task from a loader of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from gradinc.base.errors import UserError
from gradinc.data.rows import Pair, Rows, TensorRows

FIX = "Give a DataLoader over a map-style data set, a list of batches (x, y), or the rows themselves (x, y)"


@dataclass(frozen=True)
class Served:
    """A task's rows, as far as they are known, and the rows of each batch of an epoch.

    Attributes:
        rows: None if they are not known.
        sizes: rows of each micro-batch of an epoch; None if not known.
        whole: micro-batches of an epoch with all their rows, without a short last one; None if not known.
        why: the reason why the rows are not known.
    """

    rows: Rows | None = None
    sizes: Sequence[int] | None = None
    whole: int | None = None
    why: str = "is not given"


class CollatedRows(Rows):
    """The rows of a data set of one's own, read when they are used.

    Args:
        data: with a length and items (x, y).
        collate: returns the batch (x, y) of a list of items.
        device: device that the batches are moved to.
    """

    def __init__(self, data: Any, collate: Callable[[list[Any]], Any], device: torch.device) -> None:
        self._data, self._collate, self._device = data, collate, device
        self.shape = tuple(self._read([0])[0].shape[1:])
        labels = getattr(data, "targets", None)
        if isinstance(labels, Tensor | np.ndarray | list) and len(labels) == len(data):
            self.y = torch.as_tensor(labels).to(device)
        else:
            self.y = torch.cat([self._read(list(part))[1] for part in torch.arange(len(data)).split(256)])

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        for rows in order[start * batch_size :].split(batch_size):
            if len(rows):
                yield self._read(rows.tolist())

    def chunks(self, size: int) -> Iterator[Pair]:
        return self.batches(torch.arange(len(self)), size)

    def subset(self, indices: Tensor) -> Rows:
        return CollatedRows(torch.utils.data.Subset(self._data, indices.tolist()), self._collate, self._device)

    def labelled(self, y: Tensor) -> Rows:
        raise NotImplementedError("the labels of a data set of one's own are not replaced")

    def _read(self, rows: list[Any]) -> Pair:
        x, y = pair(self._collate([self._data[int(row)] for row in rows]), "the items of the data set")
        return x.to(self._device), y.to(self._device)


def served(loader: Any, device: torch.device) -> Served:
    """Return what is known about a task from its loader.

    Args:
        loader: a ``DataLoader``; a map-style data set; a list of batches (x, y); all rows as two tensors or arrays
            (x, y); or None.

    Raises:
        UserError: it is none of these, or it is empty.
    """
    if loader is None:
        return Served()
    if isinstance(loader, DataLoader):
        found = Served(*_of_loader(loader, device), why="has no data set whose rows can be read in any order")
    elif isinstance(loader, tuple) and len(loader) == 2 and all(isinstance(v, Tensor | np.ndarray) for v in loader):
        x, y = pair(loader, "the rows")
        found = Served(TensorRows(x.to(device), y.to(device)))
    elif isinstance(loader, Dataset) and hasattr(loader, "__getitem__"):
        found = Served(_of_data(loader, default_collate, device))
    elif isinstance(loader, Sequence) and not isinstance(loader, str):
        batches = [pair(batch, "a batch of the list") for batch in loader]
        sizes = [len(y) for _, y in batches]
        whole = len(sizes) - (sizes[-1] < sizes[0]) if sizes else 0
        x, y = (torch.cat([batch[part] for batch in batches]) if batches else torch.empty(0) for part in (0, 1))
        found = Served(TensorRows(x.to(device), y.to(device)), sizes, whole)
    else:
        raise UserError(f"learner.task({type(loader).__name__})", "is no loader whose rows can be read again", FIX)
    if found.sizes == [] or (found.rows is not None and len(found.rows) == 0):
        raise UserError("learner.task", "the task has no rows", FIX)
    return found


def pair(batch: Any, what: str) -> Pair:
    """Return a batch as two tensors.

    Args:
        what: its name for messages.

    Raises:
        UserError: it is something else.
    """
    if isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(v, Tensor | np.ndarray) for v in batch):
        x, y = (torch.as_tensor(value) for value in batch)
        if x.dim() and y.dim() and len(x) == len(y):
            return x, y
    raise UserError(what, "must be pairs of tensors (x, y) with as many inputs as targets", FIX)


def _of_loader(loader: DataLoader[Any], device: torch.device) -> tuple[Rows | None, list[int] | None, int | None]:
    data: Any = loader.dataset
    rows = None
    if hasattr(data, "__getitem__") and hasattr(data, "__len__"):
        rows = _of_data(data, loader.collate_fn, device)
    try:
        batches = len(loader)
    except TypeError:
        return rows, None, None
    size = loader.batch_size
    if size is None or not isinstance(loader.sampler, SequentialSampler | RandomSampler):
        return rows, [0] * batches, _whole_of(loader)  # batches of unknown sizes
    count = len(loader.sampler)
    sizes = [min(size, count - number * size) for number in range(batches)]
    return rows, sizes, count // size


def _whole_of(loader: DataLoader[Any]) -> int | None:
    """Return the batches with all their rows, for a sampler of one's own."""
    batches: Any = loader.batch_sampler
    if loader.drop_last or getattr(batches, "drop_last", False):
        return len(loader)
    if type(batches) is not BatchSampler or isinstance(loader.dataset, IterableDataset):
        return None
    rows: Any = batches.sampler
    return len(rows) // batches.batch_size


def _of_data(data: Any, collate: Callable[[list[Any]], Any], device: torch.device) -> Rows | None:
    if len(data) == 0:
        raise UserError("learner.task", "the task has no rows", FIX)
    if isinstance(data, TensorDataset) and len(data.tensors) == 2 and collate is default_collate:
        x, y = data.tensors
        return TensorRows(x.to(device), y.to(device))
    return CollatedRows(data, collate, device)
