"""What a rule is: how the gradients of a window's micro-batches become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from gradinc.core.spread import Spread
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class Rule(ABC):
    """How the gradients of a window's micro-batches become one. Subclass it in ``gradinc/rules/<name>.py``.

    A micro-batch's objective is a sum over its rows; it is multiplied by `factor` before the backward pass. A rule
    owns the backward passes (`collect`). By default they add their gradients up in the window's vector, and `reduce`
    finishes it: so `mean` and `sum` need no memory beyond that one vector. A rule that has to see each micro-batch's
    gradient by itself is a `SeparateRule`.

    Attributes:
        state: names of the attributes that must survive a restart, also in the middle of a window; as for a `Method`.
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

    def open(self, like: Tensor, size: int) -> None:  # noqa: B027  (optional)
        """Begin a window.

        Args:
            like: a vector of shape (P,), for its type and device.
            size: micro-batches that the window is foreseen to have.
        """

    def collect(
        self, objective: Tensor, factor: float, batch: Batch, learner: LearnerView, taken: int, spread: Spread
    ) -> None:
        """The backward pass of a micro-batch.

        Args:
            objective: summed over its rows, a scalar.
            factor: what `factor` gave for it.
            taken: micro-batches of the window before it.
            spread: what measures the noise among the window's micro-batches.
        """
        square = learner.passes.collect(objective, factor, batch, first=taken == 0, norm=spread.wants(taken))
        spread.add(square, factor, batch)

    def collect_again(self, batch: Batch, factor: float, learner: LearnerView, total: Tensor) -> None:
        """The same at other weights, for a method that rereads the window; the sum is in `total`, shape (P,)."""
        total += learner.part(batch, factor)


class SeparateRule(Rule):
    """A rule that sees the mean gradient of each micro-batch by itself.

    `open` comes before the first micro-batch, `add` after each, `reduce` at the end. What it keeps in between belongs
    into `state`. Where a method asks for the window's gradient at other weights, a shallow copy of the rule, made just
    before its `reduce`, is opened and run again. So what lasts from one window to the next has to be replaced, not
    changed in place.
    """

    def factor(self, items: float, planned: float) -> float:
        return 1 / items

    def slot(self, grad: Tensor) -> Tensor:
        """Where the next micro-batch's gradient is written before `add` gets it, shape (P,).

        Args:
            grad: the window's vector, which is free until `reduce`.
        """
        return grad

    @abstractmethod
    def add(self, g: Tensor, batch: Batch, learner: LearnerView) -> None:
        """Take in one micro-batch.

        Args:
            g: the gradient of its mean objective, shape (P,), in the `slot`; the rule may change it.
        """

    def collect(
        self, objective: Tensor, factor: float, batch: Batch, learner: LearnerView, taken: int, spread: Spread
    ) -> None:
        g = learner.passes.part(objective, factor, batch, self.slot(learner.weights.grad))
        spread.add(torch.dot(g, g) if spread.wants(taken) else None, factor, batch, g)
        self.add(g, batch, learner)

    def collect_again(self, batch: Batch, factor: float, learner: LearnerView, total: Tensor) -> None:
        self.add(learner.part(batch, factor, self.slot(total)), batch, learner)
