"""Diagnostics of a run's gradients and updates; they do not change the training.

With ``diagnostics=true`` every log line also has these means over the updates since the last line: ``gradient_norm``,
the norm of the window's gradient before any method; ``kept_norm``, the share of this norm after the methods;
``update_norm``, the norm of the change of the weights; ``update_cosine``, the cosine between successive changes;
``noise_scale``, tr(Σ) / ‖G‖², in rows; ``signal_to_noise``, ‖G‖² over the variance of the window's mean gradient. The
last two (`gradinc.core.spread`) are ratios of means over all windows since the last line, with or without an update.
They need windows of two micro-batches or more. They compare the mean gradient over a window's rows, whatever the rule
computes from these rows, with the mean gradient of its first micro-batch.

Everything stays on the device until the log line. `gradinc.core.plasticity` adds measures of the network itself.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.core.window import Window


class Before(Method):
    """The window's gradient before any method."""

    def __init__(self) -> None:
        self.norm: Tensor = torch.zeros(())
        self.weights: Tensor | None = None  # before the update, shape (P,)

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        self.norm = torch.dot(g, g).sqrt()
        learner.note("gradient_norm", self.norm)
        if self.weights is None:
            self.weights = torch.empty_like(g)
        self.weights.copy_(learner.weights.value)


class After(Method):
    """The gradient that the optimizer receives, and the resulting update.

    Args:
        before: the method at the other end of the chain.
        alone: whether no method is between the two.
    """

    state = ("previous", "previous_norm")

    def __init__(self, before: Before, *, alone: bool) -> None:
        self._before, self._alone = before, alone
        self.previous: Tensor | None = None  # the previous update, shape (P,)
        self.previous_norm: Tensor | None = None

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if not self._alone:
            learner.note("kept_norm", torch.dot(g, g).sqrt() / self._before.norm)

    def stepped(self, window: Window, learner: LearnerView) -> None:
        weights = self._before.weights
        assert weights is not None
        update = torch.sub(learner.weights.value, weights, out=weights)
        norm = torch.dot(update, update).sqrt()
        learner.note("update_norm", norm)
        if self.previous is not None and self.previous_norm is not None:
            learner.note("update_cosine", torch.dot(update, self.previous) / (norm * self.previous_norm))
        self._before.weights, self.previous, self.previous_norm = self.previous, update, norm  # two buffers alternate
