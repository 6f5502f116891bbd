"""Rows of tokens in memory: one after the other, and padded for a batch to the longest row of the batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.data.padding import PAD
from gradinc.data.rows import Change, Pair, Rows

_COUNTED = 1024
"""Rows whose targets are yielded together."""


class TokenRows(Rows):
    """Rows of tokens.

    Args:
        values: the tokens of all rows, int32, on the device; rows may share them.
        starts, lengths: first token and number of input tokens of each row, int64, shape (n,), on the CPU.
        y: labels, int64, shape (n,), on the device; None if the target of a token is the next one.
        length: largest number of tokens of any row of the data set.
        dtype: dtype of the inputs: whole numbers in floating point, as for other data.
    """

    in_memory = True
    lengths: Tensor

    def __init__(
        self, values: Tensor, starts: Tensor, lengths: Tensor, y: Tensor | None, length: int, dtype: torch.dtype
    ) -> None:
        self.values, self.starts, self.lengths, self.dtype = values, starts, lengths, dtype
        self.each = y is None
        # Rows whose targets are tokens have the number of their targets here.
        self.y = lengths.to(values.device) if y is None else y
        self.shape = (length,)

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[Pair]:
        order = order.cpu()[start * batch_size :]
        return (self._taken(rows) for rows in order.split(batch_size) if len(rows))

    def chunks(self, size: int) -> Iterator[Pair]:
        return self.batches(torch.arange(len(self)), size)

    def targets(self) -> Iterator[Tensor]:
        if not self.each:
            yield self.y
            return
        for _, y in self.chunks(_COUNTED):
            yield y

    def subset(self, indices: Tensor) -> TokenRows:
        indices = indices.cpu()
        y = None if self.each else self.y.index_select(0, indices.to(self.y.device))
        return self._with(self.starts[indices], self.lengths[indices], y)

    def labelled(self, y: Tensor) -> TokenRows:
        return self._with(self.starts, self.lengths, y)

    def renumbered(self, table: Tensor) -> TokenRows:
        """Return the same rows with other numbers for their tokens.

        Args:
            table: the new number of each token, int32, shape (tokens,), on the device.
        """
        values = torch.where(self.values == PAD, PAD, table[self.values.clamp(min=0)])
        return TokenRows(values, self.starts, self.lengths, None if self.each else self.y, self.shape[0], self.dtype)

    def joined(self, other: TokenRows) -> TokenRows:
        """Return these rows and other ones after them; rows of one data set share their tokens."""
        if other.values is self.values:
            values, shift = self.values, 0
        else:
            values, shift = torch.cat((self.values, other.values)), len(self.values)
        starts, lengths = torch.cat((self.starts, other.starts + shift)), torch.cat((self.lengths, other.lengths))
        y = None if self.each else torch.cat((self.y, other.y))
        return TokenRows(values, starts, lengths, y, max(self.shape[0], other.shape[0]), self.dtype)

    def changed(self, change: Change) -> Rows:
        raise UserError("stream", "changes numbers, and rows of text are tokens", "Use stream=split or stream=domains")

    def _with(self, starts: Tensor, lengths: Tensor, y: Tensor | None) -> TokenRows:
        return TokenRows(self.values, starts, lengths, y, self.shape[0], self.dtype)

    def _taken(self, rows: Tensor) -> Pair:
        """Return some rows, padded to the longest of them, and their targets."""
        lengths = self.lengths[rows]
        positions = torch.arange(max(1, int(lengths.max())))
        device = self.values.device
        places = (self.starts[rows, None] + positions).to(device, non_blocking=True)
        real = (positions < lengths[:, None]).to(device, non_blocking=True)
        x = self.values[places.clamp(max=len(self.values) - 1)].masked_fill_(~real, PAD)
        if not self.each:
            return x.to(self.dtype), self.y.index_select(0, rows.to(device, non_blocking=True))
        y = self.values[(places + 1).clamp(max=len(self.values) - 1)].masked_fill_(x == PAD, PAD)
        return x.to(self.dtype), y.long()
