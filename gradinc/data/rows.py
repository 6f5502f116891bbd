"""Rows of a data set, served in batches. For rows in files see `gradinc.data.file_rows`."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from torch import Tensor

Pair = tuple[Tensor, Tensor]

Change = Callable[[Tensor], Tensor]
"""Function of the inputs of rows, shape (rows, *shape), separately for each row."""


_READ = 2**19
"""Bytes of small batches that are read together."""

_ALIGNMENT = 64
"""Bytes to whose multiples the memory of a tensor is aligned."""


@dataclass(frozen=True)
class Standardize:
    """Conversion of raw values to the model's inputs: ``(raw - shift) / factor``, in one rounding each.

    Attributes:
        shift, factor: one value per channel or feature, in the data's dtype, shaped to broadcast
            over a batch of rows.
    """

    shift: Tensor
    factor: Tensor

    def __call__(self, raw: Tensor) -> Tensor:
        """Return raw rows on any device as normalised rows on the device of `shift`."""
        return raw.to(self.shift.device).to(self.shift.dtype, copy=True).sub_(self.shift).div_(self.factor)


class Rows(ABC):
    """Some rows of a data set and their targets.

    Attributes:
        y: labels, int64, shape (n,), or targets, shape (n, targets); on the device.
        shape: shape of one row.
        in_memory: whether the rows are in memory, so that any rows can be taken at once in any order; else they are
            read from files.
        lengths: tokens of each row, int64, shape (n,), on the CPU; None if rows have no tokens.
    """

    y: Tensor
    shape: tuple[int, ...]
    in_memory = False
    lengths: Tensor | None = None

    def __len__(self) -> int:
        return len(self.y)

    @abstractmethod
    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        """Yield batches of the rows in a given order.

        Args:
            order: row numbers, int64, shape (m,), on the CPU; a row may occur several times.
            batch_size: rows of a batch; the last one has the remaining rows.
            start: number of the first batch to yield, from 0.

        Yields:
            Inputs, shape (rows, *shape), and targets, both on the device.

        Raises:
            UserError: a file is broken or missing.
        """

    @abstractmethod
    def chunks(self, size: int) -> Iterator[Pair]:
        """Yield all rows in their own order, `size` at a time, for evaluation. Do not write into them."""

    @abstractmethod
    def subset(self, indices: Tensor) -> Rows:
        """Return some of the rows, in the order of `indices`, int64, shape (m,)."""

    @abstractmethod
    def labelled(self, y: Tensor) -> Rows:
        """Return the same rows with other labels, shape (n,), on the device."""

    def targets(self) -> Iterator[Tensor]:
        """Yield the targets of all rows in their own order, in one or more parts."""
        yield self.y

    def changed(self, change: Change) -> Rows:
        """Return the same rows with inputs that are changed when they are served: a view, not a copy."""
        return ChangedRows(self, change)


class TensorRows(Rows):
    """Rows in memory, on the device.

    Attributes:
        x: normalised inputs, shape (n, *shape).
    """

    in_memory = True

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y = x, y
        self.shape = tuple(x.shape[1:])

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        x, y = self.x, self.y
        # On a GPU a blocking copy would wait for all queued passes.
        order = order[start * batch_size :].to(x.device, non_blocking=True)
        for rows in order.split(self._together(batch_size)):
            if len(rows):  # an empty order splits into one empty batch
                inputs, targets = x.index_select(0, rows), y.index_select(0, rows)
                yield from zip(inputs.split(batch_size), targets.split(batch_size), strict=True)

    def chunks(self, size: int) -> Iterator[Pair]:
        for first in range(0, len(self), size):
            yield self.x[first : first + size], self.y[first : first + size]

    def subset(self, indices: Tensor) -> TensorRows:
        indices = indices.to(self.x.device)
        return TensorRows(self.x.index_select(0, indices), self.y.index_select(0, indices))

    def _together(self, batch_size: int) -> int:
        """Return how many rows to read at once: several small batches.

        The rounding of a matrix product can depend on the memory alignment of its input, and a restart must not change
        it. Batches are therefore read together only if each of them is aligned like a separate tensor.
        """
        size = batch_size * math.prod(self.shape) * self.x.element_size()
        return batch_size if size == 0 or size % _ALIGNMENT else batch_size * max(1, _READ // size)

    def labelled(self, y: Tensor) -> TensorRows:
        return TensorRows(self.x, y)


class OutlinedRows(Rows):
    """Rows without inputs: their number, their targets and their shape, to check a config against."""

    def __init__(self, y: Tensor, shape: tuple[int, ...]) -> None:
        self.y, self.shape = y, shape

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        raise AssertionError("an outline has no inputs")

    def chunks(self, size: int) -> Iterator[Pair]:
        return self.batches(self.y, size)

    def subset(self, indices: Tensor) -> OutlinedRows:
        return OutlinedRows(self.y.index_select(0, indices), self.shape)

    def labelled(self, y: Tensor) -> OutlinedRows:
        return OutlinedRows(y, self.shape)

    def changed(self, change: Change) -> OutlinedRows:
        return self


class ChangedRows(Rows):
    """Rows whose inputs are changed when they are served.

    Args:
        rows: the original rows.
        change: function for each batch of inputs.
    """

    def __init__(self, rows: Rows, change: Change) -> None:
        self.rows, self.change = rows, change
        self.y, self.shape, self.in_memory = rows.y, rows.shape, rows.in_memory

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        return ((self.change(x), y) for x, y in self.rows.batches(order, batch_size, start))

    def chunks(self, size: int) -> Iterator[Pair]:
        return ((self.change(x), y) for x, y in self.rows.chunks(size))

    def subset(self, indices: Tensor) -> ChangedRows:
        return ChangedRows(self.rows.subset(indices), self.change)

    def labelled(self, y: Tensor) -> ChangedRows:
        return ChangedRows(self.rows.labelled(y), self.change)


class SelectedRows(Rows):
    """A selection of other rows, applied when they are served.

    Args:
        rows: all rows.
        indices: the selected rows, int64, shape (m,).
    """

    def __init__(self, rows: Rows, indices: Tensor) -> None:
        self.rows, self.indices = rows, indices.cpu()
        self.y, self.shape = rows.y.index_select(0, indices.to(rows.y.device)), rows.shape
        self.in_memory = rows.in_memory

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        return self.rows.batches(self.indices[order.cpu()], batch_size, start)

    def chunks(self, size: int) -> Iterator[Pair]:
        return self.rows.batches(self.indices, size)

    def subset(self, indices: Tensor) -> SelectedRows:
        return SelectedRows(self.rows, self.indices[indices.cpu()])

    def labelled(self, y: Tensor) -> SelectedRows:
        whole = self.rows.y.index_copy(0, self.indices.to(y.device), y)
        return SelectedRows(self.rows.labelled(whole), self.indices)
