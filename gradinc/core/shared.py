"""The gradient of an update by several processes, bit-identical in all of them."""

from __future__ import annotations

from torch import Tensor

from gradinc.core.method import Method
from gradinc.core.view import LearnerView


class SharedGradient(Method):
    """Copies the first process's gradient to all processes, after the methods.

    The methods' gradients may differ: a process without a micro-batch in the window has not drawn their random numbers.
    """

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        learner.place.world.copy_([g])
