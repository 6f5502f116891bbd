"""The base class of rules: they combine the gradients of a window's micro-batches into one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from gradinc.core.spread import Spread
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class Rule(ABC):
    """A rule that combines the gradients of a window's micro-batches into one. Subclass it in
    ``gradinc/rules/<name>.py``.

    A micro-batch's objective is a sum over its rows; it is multiplied by `factor` before the backward pass. A rule
    owns the backward passes (`collect`). By default they add their gradients to the window's vector, and `reduce`
    finishes it: `mean` and `sum` need no memory beyond this vector. A rule that needs each micro-batch's gradient
    separately is a `SeparateRule`.

    Attributes:
        state: names of the attributes that must survive a restart, also in the middle of a window; as for a `Method`.
        by_row: whether the rule uses the gradient of each row's own loss instead of the micro-batch's gradient.
    """

    state: ClassVar[tuple[str, ...]] = ()
    by_row: ClassVar[bool] = False

    @abstractmethod
    def factor(self, items: float, planned: float) -> float:
        """Return the factor of a micro-batch's summed objective.

        Args:
            items: terms of the loss in this micro-batch, times their weights.
            planned: the same over the whole window, as planned when it was opened.
        """

    def is_sum(self, items: float, planned: float) -> bool:
        """Return whether the sum of the backward passes already is the window's gradient, without `reduce`."""
        return False

    @abstractmethod
    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        """Finish the window's gradient, shape (P,), in place.

        Args:
            grad: the sum of the backward passes.
            items: Σ of the items of the collected micro-batches.
            planned: Σ of the items as planned, the same value as in `factor`.

        Returns:
            Whether an update follows. Without an update, the schedule does not advance and no weight decay is applied.
        """

    def open(self, like: Tensor, size: int) -> None:  # noqa: B027  (optional)
        """Begin a window.

        Args:
            like: a vector of shape (P,), for its dtype and device.
            size: planned number of micro-batches.
        """

    def collect(
        self, objective: Tensor, factor: float, batch: Batch, learner: LearnerView, taken: int, spread: Spread
    ) -> None:
        """Run the backward pass of a micro-batch.

        Args:
            objective: summed over its rows, a scalar.
            factor: the result of `factor` for it.
            taken: number of micro-batches of the window before this micro-batch.
            spread: measures the noise among the window's micro-batches.
        """
        norm = batch.items > 0 and spread.wants(taken)
        square = learner.passes.collect(objective, factor, batch, first=taken == 0, norm=norm)
        if square is not None or spread.keeps:
            spread.add(square, factor, batch)

    def collect_again(self, batch: Batch, factor: float, learner: LearnerView, total: Tensor) -> None:
        """Repeat `collect` at other weights, for a method that rereads the window; the sum is `total`, shape (P,)."""
        total += learner.part(batch, factor)


class SeparateRule(Rule):
    """A rule that sees the mean gradient of each micro-batch separately.

    `open` is called before the first micro-batch, `add` after each, `reduce` at the end. Values that it stores
    between these calls are named in `state`. A micro-batch without a term of the loss is left out. If a method asks
    for the window's gradient at other weights, a shallow copy of the rule, from just before its `reduce`, is opened
    and run again. Values that last from one window to the next must therefore be replaced, not changed in place.
    """

    def factor(self, items: float, planned: float) -> float:
        return 1 / items if items else 0.0

    def slot(self, grad: Tensor) -> Tensor:
        """Return the tensor for the next micro-batch's gradient, which `add` then receives, shape (P,).

        Args:
            grad: the window's vector, which is unused until `reduce`.
        """
        return grad

    @abstractmethod
    def add(self, g: Tensor, batch: Batch, learner: LearnerView) -> None:
        """Add one micro-batch.

        Args:
            g: the gradient of its mean objective, shape (P,), in the `slot`; the rule may change it.
        """

    def collect(
        self, objective: Tensor, factor: float, batch: Batch, learner: LearnerView, taken: int, spread: Spread
    ) -> None:
        if batch.items == 0:
            return
        g = learner.passes.part(objective, factor, batch, self.slot(learner.weights.grad))
        spread.add(torch.dot(g, g) if spread.wants(taken) else None, factor, batch, g)
        self.add(g, batch, learner)

    def collect_again(self, batch: Batch, factor: float, learner: LearnerView, total: Tensor) -> None:
        if batch.items:
            self.add(learner.part(batch, factor, self.slot(total)), batch, learner)
