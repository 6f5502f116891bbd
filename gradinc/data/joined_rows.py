"""Rows of several data sets or tasks as one, in memory if they fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from gradinc.data.available_memory import fits
from gradinc.data.file_rows import FileRows
from gradinc.data.rows import Pair, Rows, SelectedRows, TensorRows
from gradinc.data.token_rows import TokenRows

_BLOCK, _EACH = 2048, 8
"""Rows that are taken at once from parts in memory, in all and on average from each part, whichever is more: few rows
cost nearly as much as many."""


class JoinedRows(Rows):
    """Several rows, one after the other: from files, or views of rows in memory.

    Args:
        parts: one or more.
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        self.parts = parts
        self.y = torch.cat([part.y for part in parts])
        self.shape = parts[0].shape
        self.in_memory = all(part.in_memory for part in parts)
        self._ends = torch.tensor([len(part) for part in parts]).cumsum(0)

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        order = order.cpu()[start * batch_size :]
        if not self.in_memory:
            yield from self._in_turns([group for group in order.split(batch_size) if len(group)])
            return
        batches = max(1, max(_BLOCK, _EACH * len(self.parts)) // batch_size)
        for block in order.split(batches * batch_size):
            if len(block):
                inputs, y = self._taken(block), self.y.index_select(0, block.to(self.y.device, non_blocking=True))
                for x, labels in zip(inputs.split(batch_size), y.split(batch_size), strict=True):
                    yield x.clone(), labels  # a copy: sums may depend on where the rows begin in memory

    def _taken(self, rows: Tensor) -> Tensor:
        """Return the inputs of some rows, int64, shape (n,), from parts in memory."""
        ordered, places = rows.sort()
        bounds = [0, *torch.searchsorted(ordered, self._ends).tolist()]
        x: Tensor | None = None
        for part, first, begin, end in zip(self.parts, self._firsts(), bounds, bounds[1:], strict=False):
            if begin < end:
                taken, _ = next(part.batches(ordered[begin:end] - first, end - begin))
                if x is None:
                    x = taken.new_empty(len(rows), *taken.shape[1:])
                x.index_copy_(0, places[begin:end].to(x.device, non_blocking=True), taken)
        assert x is not None
        return x

    def _in_turns(self, groups: Sequence[Tensor]) -> Iterator[Pair]:
        """Read each part's rows in the order in which they are needed, so that files are read ahead."""
        owners = [torch.bucketize(group, self._ends, right=True) for group in groups]
        served = [
            part.batches(torch.cat([group[owner == n] for group, owner in zip(groups, owners, strict=True)]) - first, 1)
            for n, (part, first) in enumerate(zip(self.parts, self._firsts(), strict=True))
        ]
        for group, owner in zip(groups, owners, strict=True):
            y = self.y[group.to(self.y.device, non_blocking=True)]
            yield torch.cat([next(served[n])[0] for n in owner.tolist()]), y

    def chunks(self, size: int) -> Iterator[Pair]:
        yield from self.batches(torch.arange(len(self)), size)

    def subset(self, indices: Tensor) -> SelectedRows:
        return SelectedRows(self, indices)

    def labelled(self, y: Tensor) -> JoinedRows:
        sizes = [len(part) for part in self.parts]
        return JoinedRows([part.labelled(own) for part, own in zip(self.parts, y.split(sizes), strict=True)])

    def _firsts(self) -> list[int]:
        return [0, *self._ends.tolist()[:-1]]


def joined(parts: Sequence[Callable[[], Rows]], sizes: Sequence[int], device: torch.device) -> Rows:
    """Join several rows, one after the other: in memory if they are there and fit, else from their files.

    Args:
        parts: functions that create the rows; each part is released before the next one is created.
        sizes: number of rows of each part.
    """
    first = parts[0]()
    if len(parts) == 1:
        return first
    if isinstance(first, TokenRows):
        tokens = [first, *(part() for part in parts[1:])]
        return reduce(TokenRows.joined, tokens)  # type: ignore[arg-type]
    if isinstance(first, FileRows):
        files = [first, *(part() for part in parts[1:])]
        if all(isinstance(rows, FileRows) and rows.files is first.files for rows in files):
            whole = first.labelled(torch.cat([rows.y for rows in files]))
            whole.indices = np.concatenate([rows.indices for rows in files])  # type: ignore[attr-defined]
            return whole
        return JoinedRows(files)
    if not isinstance(first, TensorRows) or not fits(sum(sizes) * first.x[:1].nbytes, device):
        return JoinedRows([first, *(part() for part in parts[1:])])
    x = first.x.new_empty(sum(sizes), *first.shape)
    y = first.y.new_empty(sum(sizes), *first.y.shape[1:])
    place = 0
    for number, size in enumerate(sizes):
        rows = first if number == 0 else parts[number]()
        assert isinstance(rows, TensorRows)
        x[place : place + size], y[place : place + size] = rows.x, rows.y
        place += size
    return TensorRows(x, y)
