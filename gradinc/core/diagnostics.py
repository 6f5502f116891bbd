"""Numbers about the gradients and updates of a run: they read, and never change anything.

``diagnostics=true`` adds to every log line, each the mean over the updates since the last line: ``gradient_norm``: of
the window's gradient, before any method; ``kept_norm``: the share of it that the methods leave; ``update_norm``: of
the change of the weights; ``update_cosine``: between successive changes; ``noise_scale``: tr(Σ) / ‖G‖², in rows;
``signal_to_noise``: ‖G‖² over the variance of the window's mean gradient. The last two (`gradinc.core.spread`) are
ratios of means over the windows since the last line, also those that their rule made no update of. They need windows
of two micro-batches or more, and compare the mean gradient over a window's rows, whatever its rule makes of them,
with that of its first micro-batch.

Everything stays on the device until the log line.
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
    """The gradient that the optimizer gets, and the update that it makes.

    Args:
        before: from the other end of the chain.
        alone: whether there is no method in between.
    """

    state = ("previous", "previous_norm")

    def __init__(self, before: Before, *, alone: bool) -> None:
        self._before, self._alone = before, alone
        self.previous: Tensor | None = None  # the update before, shape (P,)
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
        self._before.weights, self.previous, self.previous_norm = self.previous, update, norm  # the two take turns
