"""Checks for numbers that are not finite, before they reach the weights, a log line or a checkpoint."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradinc.base.errors import Diverged
from gradinc.core.place import Place
from gradinc.core.weights import Weights


class FiniteCheck:
    """Checks of the loss, the gradient and the weights.

    On the CPU every step reads a scalar. On a GPU this would stall the queue, so the check sets a mark on the
    device and the update becomes zero; `weights` reads the mark before every log line and every checkpoint.
    """

    def __init__(self, weights: Weights, place: Place) -> None:
        self._weights, self._place = weights, place
        self._reads = weights.value.is_cpu
        self._bad_step = torch.zeros((), dtype=torch.int64, device=weights.value.device)

    def loss(self, objective: Tensor) -> None:
        """Check the objective of a micro-batch, a scalar.

        Raises:
            Diverged: it is not finite. Several processes instead stop together, at the sum of their gradients.
        """
        if self._reads and self._place.world.alone and not math.isfinite(objective.item()):
            raise Diverged(self._place.updates + 1, "loss")

    def gradient(self, grad: Tensor) -> None:
        """Check the gradient of a window, shape (P,), before the optimizer sees it.

        Raises:
            Diverged: it is not finite; the weights were not changed.
        """
        total = grad.sum()
        if not self._reads:
            bad = ~torch.isfinite(total) & (self._bad_step == 0)
            self._bad_step += bad * (self._place.updates + 1)
            grad.nan_to_num_(0.0, 0.0, 0.0)
        elif not math.isfinite(total.item()):
            # A sum can overflow although every entry is finite, so look closer before stopping.
            name = self._weights.first_not_finite(grad)
            if name is not None:
                raise Diverged(self._place.updates + 1, f"the gradient of {name}")

    def weights(self) -> None:
        """Check the mark on the device and the weights themselves.

        Raises:
            Diverged: a gradient was not finite, or a weight is not.
        """
        if not self._reads and (step := int(self._bad_step)):
            raise Diverged(step, "gradient")
        if not math.isfinite(self._weights.value.sum().item()):
            name = self._weights.first_not_finite(self._weights.value)
            if name is not None:
                raise Diverged(self._place.updates, name)
