"""Checks for numbers that are not finite, before they reach a measure, a log line or a checkpoint."""

from __future__ import annotations

import math

from torch import Tensor

from gradinc.base.errors import Diverged
from gradinc.core.place import Place
from gradinc.core.weights import Weights


class FiniteCheck:
    """Checks of the loss and of the weights.

    A gradient that is not finite makes a weight not finite, and this weight makes the next loss not finite. The
    gradient itself is not checked, which saves a pass over the vector: an update may use such a gradient, but no result
    of this update is measured, logged or saved.
    """

    def __init__(self, weights: Weights, place: Place) -> None:
        self._weights, self._place = weights, place
        # On a GPU the check would wait for the queue. With several processes, all of them must stop together.
        self._reads = weights.value.is_cpu and place.world.alone

    def loss(self, objective: Tensor) -> float | Tensor:
        """Check the objective of a micro-batch, a scalar; skipped on a GPU and with several processes.

        Returns:
            The objective, as a number if it was checked.

        Raises:
            Diverged: it is not finite.
        """
        if not self._reads:
            return objective
        value = objective.item()
        if not math.isfinite(value):
            raise Diverged(self._place.updates + 1, "loss")
        return value

    def weights(self) -> None:
        """Check the weights.

        Raises:
            Diverged: a weight is not finite.
        """
        # The sum can overflow although every entry is finite, so the entries are checked before the run stops.
        if not math.isfinite(self._weights.value.sum().item()):
            name = self._weights.first_not_finite(self._weights.value)
            if name is not None:
                raise Diverged(self._place.updates, name)
