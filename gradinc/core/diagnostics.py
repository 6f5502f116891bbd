"""Numbers about the gradients and updates of a run: they read, and never change anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor

from gradinc.core.noise_scale import trace_and_signal

if TYPE_CHECKING:
    from gradinc.core.learner import Learner
    from gradinc.core.window import Window


class Diagnostics:
    """What ``diagnostics=true`` adds to every log line, each the mean over the updates since the last line.

    ``gradient_norm``: of the window's gradient, before any method; ``kept_norm``: the share of it that the
    methods leave; ``update_norm``: of the change of the weights; ``update_cosine``: between successive
    changes; ``noise_scale``: tr(Σ) / ‖G‖², in rows; ``signal_to_noise``: ‖G‖² over the variance of the
    window's mean gradient. The last two are ratios of means over the windows since the last line, also those that
    their rule made no update of. They need windows of two micro-batches or more, and compare the mean gradient over a
    window's rows, whatever its rule makes of them, with that of its first micro-batch.

    Everything stays on the device until the log line.
    """

    state: ClassVar[tuple[str, ...]] = ("previous", "previous_norm")

    def __init__(self) -> None:
        self.previous: Tensor | None = None  # the update before, shape (P,)
        self.previous_norm: Tensor | None = None
        self._before: Tensor | None = None  # the weights before the update, then the update; the two take turns

    def observed(self, window: Window, square: Tensor, learner: Learner) -> None:
        """A full window, with ‖ḡ‖² of the mean gradient over its rows."""
        if window.taken > 1:
            trace, signal = trace_and_signal(window.squares, square, window.items)
            learner.note("noise_trace", trace)
            learner.note("noise_signal", signal)
            learner.note("noise_of_mean", trace / window.items)

    def reduced(self, g: Tensor, learner: Learner) -> None:
        """The window's gradient before any transform, shape (P,)."""
        self._norm = torch.dot(g, g).sqrt()
        learner.note("gradient_norm", self._norm)
        if self._before is None:
            self._before = torch.empty_like(g)
        self._before.copy_(learner.weights.value)

    def transformed(self, g: Tensor, learner: Learner) -> None:
        """The gradient that the optimizer gets, shape (P,), where there are methods."""
        learner.note("kept_norm", torch.dot(g, g).sqrt() / self._norm)

    def stepped(self, learner: Learner) -> None:
        """The weights have moved."""
        assert self._before is not None
        update = torch.sub(learner.weights.value, self._before, out=self._before)
        norm = torch.dot(update, update).sqrt()
        learner.note("update_norm", norm)
        if self.previous is not None and self.previous_norm is not None:
            learner.note("update_cosine", torch.dot(update, self.previous) / (norm * self.previous_norm))
        self._before, self.previous, self.previous_norm = self.previous, update, norm

    @staticmethod
    def finish(notes: dict[str, float]) -> dict[str, float]:
        """The means of a log line, with the ratios that are taken of means."""
        if "gradient_norm" in notes:
            notes.setdefault("kept_norm", 1.0)
        names = ("noise_trace", "noise_signal", "noise_of_mean")
        if all(name in notes for name in names):
            trace, signal, noise = (notes.pop(name) for name in names)
            notes["noise_scale"] = trace / signal if signal > 0 else float("inf")
            notes["signal_to_noise"] = signal / noise if noise > 0 else float("inf")
        return notes
