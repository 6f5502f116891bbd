"""What a rule is: how the gradients of a window's micro-batches become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from gradinc.core.learner import Learner
    from gradinc.data.batch import Batch


class Rule(ABC):
    """How the gradients of a window's micro-batches become one. Subclass it in ``gradinc/rules/<name>.py``.

    A micro-batch's objective is a sum over its rows; it is multiplied by `factor` before the backward
    pass. By default the backward passes add their gradients up in the window's vector, and `reduce`
    finishes it: so `mean` and `sum` need no memory beyond that one vector. A rule that has to see each
    micro-batch's gradient by itself is a `SeparateRule`.

    Attributes:
        state: names of the attributes that must survive a restart, also in the middle of a window;
            as for a `Method`.
        by_row: whether it takes the gradient of each row's own loss in place of the micro-batch's gradient.
    """

    state: ClassVar[tuple[str, ...]] = ()
    by_row: ClassVar[bool] = False

    @abstractmethod
    def factor(self, items: float, planned: float) -> float:
        """What a micro-batch's summed objective is multiplied by.

        Args:
            items: Σ of the row weights of this micro-batch.
            planned: that sum over the whole window, as foreseen when it was opened.
        """

    @abstractmethod
    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        """Finish the window's gradient, shape (P,), in place.

        Args:
            grad: what the backward passes have added up.
            items: Σ of the row weights that really came.
            planned: that sum as foreseen, as it was given to `factor`.

        Returns:
            Whether an update follows. Without one nothing ticks: no schedule, no weight decay.
        """


class SeparateRule(Rule):
    """A rule that sees the mean gradient of each micro-batch by itself.

    `open` comes before the first micro-batch, `add` after each, `reduce` at the end. What it keeps in
    between belongs into `state`. Where a method asks for the window's gradient at other weights, a
    shallow copy of the rule, made just before its `reduce`, is opened and run again. So what lasts
    from one window to the next has to be replaced, not changed in place.
    """

    def factor(self, items: float, planned: float) -> float:
        return 1 / items

    @abstractmethod
    def open(self, like: Tensor, size: int) -> None:
        """Begin a window.

        Args:
            like: a vector of shape (P,), for its type and device.
            size: micro-batches that the window is foreseen to have.
        """

    def slot(self, grad: Tensor) -> Tensor:
        """Where the next micro-batch's gradient is written before `add` gets it, shape (P,).

        Args:
            grad: the window's vector, which is free until `reduce`.
        """
        return grad

    @abstractmethod
    def add(self, g: Tensor, batch: Batch, learner: Learner) -> None:
        """Take in one micro-batch.

        Args:
            g: the gradient of its mean objective, shape (P,), in the `slot`; the rule may change it.
        """


class RowRule(SeparateRule):
    """A rule that needs all gradients of the window at once. A subclass is one function of a matrix, `combine`.

    The matrix is allocated once, and each gradient is written straight into its row.

    Attributes:
        items: Σ of the row weights of each micro-batch so far.
    """

    state: ClassVar[tuple[str, ...]] = ("items", "gradients")

    items: tuple[float, ...] = ()
    _rows: Tensor = torch.empty(0, 0)

    @abstractmethod
    def combine(self, rows: Tensor, shares: Sequence[float], grad: Tensor) -> None:
        """Make one gradient of K.

        Args:
            rows: the mean gradients of the micro-batches, shape (K, P); they may be overwritten.
            shares: of the window's rows that each micro-batch has; equal ones are equal to the last bit.
            grad: where the result goes, shape (P,).
        """

    def open(self, like: Tensor, size: int) -> None:
        self.items = ()
        if self._rows.shape[0] < size:
            self._rows = like.new_empty(size, like.numel())

    def slot(self, grad: Tensor) -> Tensor:
        taken, room = len(self.items), self._rows.shape[0]
        if taken == room:  # after a restart, or where the window turns out longer than foreseen
            longer = grad.new_empty(2 * room, grad.numel())
            longer[:taken] = self._rows
            self._rows = longer
        return self._rows[taken]

    def add(self, g: Tensor, batch: Batch, learner: Learner) -> None:
        self.items += (batch.items,)

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        self.combine(self._rows[: len(self.items)], [n / items for n in self.items], grad)
        self.items = ()
        return True

    @property
    def gradients(self) -> Tensor:
        """The rows so far, shape (K, P), as a checkpoint has them: none between two windows."""
        return self._rows[: len(self.items)].clone()

    @gradients.setter
    def gradients(self, rows: Tensor) -> None:
        self._rows = rows
