"""Numbers about the gradients and updates of a run: they read, and never change anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from gradinc.noise import trace_and_signal

if TYPE_CHECKING:
    from gradinc.learner import Learner


class Diagnostics:
    """What ``diagnostics=true`` adds to every log line, each the mean over the updates since the last line.

    ``gradient_norm``: of the window's gradient, before any method; ``kept_norm``: the share of it that the
    methods leave; ``update_norm``: of the change of the weights; ``update_cosine``: between successive
    changes; ``noise_scale``: tr(Σ) / ‖G‖², in rows; ``signal_to_noise``: ‖G‖² over the variance of the
    window's gradient. The last two are ratios of means, and need windows of two micro-batches or more.

    Everything stays on the device until the log line.
    """

    state: ClassVar[tuple[str, ...]] = ("previous",)

    def __init__(self) -> None:
        self.previous: Tensor | None = None  # the update before, shape (P,)

    def reduced(self, g: Tensor, learner: Learner) -> None:
        """The window's gradient before any transform, shape (P,)."""
        square = torch.dot(g, g)
        self._norm = square.sqrt()
        learner.note("gradient_norm", self._norm)
        squares = learner.window.squares
        if len(squares) > 1:
            trace, signal = trace_and_signal(squares, square)
            learner.note("noise_trace", trace)
            learner.note("noise_signal", signal)
            learner.note("noise_of_mean", trace / sum(items for _, items in squares))
        self._before = learner.weights.value.clone()

    def transformed(self, g: Tensor, learner: Learner) -> None:
        """The gradient that the optimizer gets, shape (P,)."""
        learner.note("kept_norm", g.norm() / self._norm)

    def stepped(self, learner: Learner) -> None:
        """The weights have moved."""
        update = learner.weights.value - self._before
        norm = update.norm()
        learner.note("update_norm", norm)
        if self.previous is not None:
            learner.note("update_cosine", torch.dot(update, self.previous) / (norm * self.previous.norm()))
        self.previous = update

    @staticmethod
    def finish(notes: dict[str, float]) -> dict[str, float]:
        """The means of a log line, with the ratios that are taken of means."""
        names = ("noise_trace", "noise_signal", "noise_of_mean")
        if all(name in notes for name in names):
            trace, signal, noise = (notes.pop(name) for name in names)
            notes["noise_scale"] = trace / signal if signal > 0 else float("inf")
            notes["signal_to_noise"] = signal / noise if noise > 0 else float("inf")
        return notes
