"""Rows of different lengths in the slots of a memory, one after the other and without padding."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.data.padding import PAD

_LEAST = 1024
"""Values that are allocated at first."""


class RaggedField:
    """A field of a memory with the functions of a tensor that a memory uses; rows go in and come out padded.

    A row that is replaced leaves its values behind. Rows are copied together when their place is full, and the place
    then is twice as large as the rows, so the cost of a row does not depend on the size of the memory.

    Args:
        like: rows, shape (rows, length), for their dtype and device.
        slots: number of slots.
    """

    def __init__(self, like: Tensor, slots: int) -> None:
        self._values = like.new_empty(_LEAST)
        self._starts = torch.zeros(slots, dtype=torch.int64)
        self._lengths = torch.zeros(slots, dtype=torch.int64)
        self._used = 0

    @property
    def nbytes(self) -> int:
        """Return the bytes of the stored values and of their places."""
        filled = int((self._lengths > 0).sum())
        return int(self._lengths.sum()) * self._values.element_size() + 16 * filled

    def index_copy_(self, dim: int, slots: Tensor, rows: Tensor) -> None:
        """Store padded rows, shape (n, length), in slots, int64, shape (n,)."""
        places = torch.arange(1, rows.shape[1] + 1, device=rows.device)
        lengths = torch.where(rows == PAD, 0, places).amax(1)
        real = places <= lengths[:, None]
        slots, lengths = slots.cpu(), lengths.cpu()
        self._lengths[slots] = 0
        total = int(lengths.sum())
        if self._used + total > len(self._values):
            self._together(total)
        self._values[self._used : self._used + total] = rows[real]
        self._starts[slots] = self._used + lengths.cumsum(0) - lengths
        self._lengths[slots] = lengths
        self._used += total

    def index_select(self, dim: int, slots: Tensor) -> Tensor:
        """Return the rows in some slots, padded to the longest of them, shape (n, length)."""
        slots = slots.cpu()
        starts, lengths = self._starts[slots], self._lengths[slots]
        positions = torch.arange(max(1, int(lengths.max())))
        places = (starts[:, None] + positions).clamp_(max=len(self._values) - 1)
        real = (positions < lengths[:, None]).to(self._values.device, non_blocking=True)
        return self._values[places.to(self._values.device, non_blocking=True)].masked_fill_(~real, PAD)

    def __getitem__(self, chosen: slice) -> Tensor:
        return self.index_select(0, torch.arange(len(self._starts))[chosen])

    def _together(self, more: int) -> None:
        """Copy the rows together, with room for some more values and as many as there are."""
        slots = self._lengths.nonzero().flatten()
        starts, lengths = self._starts[slots], self._lengths[slots]
        total = int(lengths.sum())
        ends = lengths.cumsum(0)
        places = torch.arange(total) + (starts - ends + lengths).repeat_interleave(lengths)
        values = self._values.new_empty(max(_LEAST, 2 * (total + more)))
        values[:total] = self._values[places.to(values.device)]
        self._values, self._used = values, total
        self._starts[slots] = ends - lengths
