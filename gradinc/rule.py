"""What a rule is: how the gradients of a window's micro-batches become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class Rule(ABC):
    """How the gradients of a window's micro-batches become one. Subclass it in ``gradinc/rules/<name>.py``.

    A micro-batch's objective is a sum over its rows. It is multiplied by `factor` before the
    backward pass, which adds its gradient to the window's vector; `reduce` finishes the vector when
    the window is full. So `mean` and `sum` need no memory beyond that one vector.

    Attributes:
        state: names of the attributes that must survive a restart, as for a `Method`.
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
    def reduce(self, grad: Tensor, items: float, planned: float) -> None:
        """Finish the window's gradient, shape (P,), in place.

        Args:
            grad: what the backward passes have added up.
            items: Σ of the row weights that really came.
            planned: that sum as foreseen, as it was given to `factor`.
        """
