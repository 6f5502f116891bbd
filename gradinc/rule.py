"""What a rule is: how the gradients of a window's micro-batches become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor

if TYPE_CHECKING:
    from gradinc.batch import Batch
    from gradinc.learner import Learner


class Rule(ABC):
    """How the gradients of a window's micro-batches become one. Subclass it in ``gradinc/rules/<name>.py``.

    A micro-batch's objective is a sum over its rows; it is multiplied by `factor` before the backward
    pass. By default the backward passes add their gradients up in the window's vector, and `reduce`
    finishes it: so `mean` and `sum` need no memory beyond that one vector. A rule that has to see each
    micro-batch's gradient by itself is a `SeparateRule`.

    Attributes:
        state: names of the attributes that must survive a restart, also in the middle of a window;
            as for a `Method`.
    """

    state: ClassVar[tuple[str, ...]] = ()

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
    between belongs into `state`. A copy of the rule is run again where a method asks for the window's
    gradient at other weights, so `open` has to replace what it keeps, not to change it in place.
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

    @abstractmethod
    def add(self, g: Tensor, batch: Batch, learner: Learner) -> None:
        """Take in one micro-batch.

        Args:
            g: the gradient of its mean objective, shape (P,); it is overwritten afterwards.
        """
