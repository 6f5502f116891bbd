"""Rules that are a function of the matrix of all gradients of a window."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from gradinc.core.rule import SeparateRule
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class RowRule(SeparateRule):
    """A rule that needs all gradients of the window at once. A subclass has one function of their matrix, `combine`.

    The matrix is allocated once, and each gradient is written directly into its row.

    Attributes:
        items: the items of each micro-batch so far.
    """

    state: ClassVar[tuple[str, ...]] = ("items", "gradients")

    items: tuple[float, ...] = ()
    _rows: Tensor = torch.empty(0, 0)

    @abstractmethod
    def combine(self, rows: Tensor, shares: Sequence[float], grad: Tensor) -> None:
        """Combine K gradients into one.

        Args:
            rows: the mean gradients of the micro-batches, shape (K, P); they may be overwritten.
            shares: each micro-batch's share of the window's items; equal shares are equal to the last bit.
            grad: the tensor to write the result to, shape (P,).
        """

    def open(self, like: Tensor, size: int) -> None:
        self.items = ()
        if self._rows.shape[0] < size:
            self._rows = like.new_empty(size, like.numel())

    def slot(self, grad: Tensor) -> Tensor:
        taken, room = len(self.items), self._rows.shape[0]
        if taken == room:  # after a restart, or if the window becomes longer than planned
            longer = grad.new_empty(2 * room, grad.numel())
            longer[:taken] = self._rows
            self._rows = longer
        return self._rows[taken]

    def add(self, g: Tensor, batch: Batch, learner: LearnerView) -> None:
        self.items += (batch.items,)

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        self.combine(self._rows[: len(self.items)], [n / items for n in self.items], grad)
        self.items = ()
        return True

    @property
    def gradients(self) -> Tensor:
        """The rows so far, shape (K, P), for a checkpoint; empty between two windows."""
        return self._rows[: len(self.items)].clone()

    @gradients.setter
    def gradients(self, rows: Tensor) -> None:
        self._rows = rows
