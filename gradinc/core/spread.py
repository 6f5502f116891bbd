"""How much the gradients of a window's micro-batches differ, for windows that go by it and for diagnostics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gradinc.core.due import Due
from gradinc.core.noise_scale import trace_and_signal
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class Spread:
    """The squared norms of the mean gradients of a window's micro-batches, and that of the window's own mean.

    The mean goes over the rows of the window, whatever its rule makes of their gradients.

    Args:
        due: what a full window is shown to, where it observes.
        notes: whether the noise is noted for the log. For that alone only a window's first micro-batch is measured,
            which costs next to nothing.
    """

    def __init__(self, due: Due, *, notes: bool) -> None:
        self._due, self._notes = due, notes
        self._squares: list[tuple[Tensor, float]] = []  # ‖ḡₖ‖² of each micro-batch and its items
        self._fresh = 0  # rows of the stream
        self._scale = 0.0  # Σ of the row weights times the factors of their micro-batches
        self._total: Tensor | None = None  # Σ of row weights times mean gradients, shape (P,), if no vector has it

    def wants(self, taken: int) -> bool:
        """Whether the norm of the next micro-batch's gradient is to be taken, after so many of the window."""
        return (self._due.observes and (taken == 0 or bool(self._squares))) or (self._notes and taken == 0)

    @property
    def keeps(self) -> bool:
        """Whether the gradients of the window are added up here, where its rule does not add them up."""
        return bool(self._squares)

    def add(self, square: Tensor | None, factor: float, batch: Batch, part: Tensor | None = None) -> None:
        """Take in a micro-batch.

        Args:
            square: the squared norm of its gradient, if it was wanted.
            factor: what its summed objective was multiplied by.
            part: its gradient, shape (P,), where the rule does not add it to the window's vector.
        """
        share = factor * batch.items
        self._fresh += batch.fresh
        self._scale += share
        if square is not None:
            self._squares.append((square / (share * share), batch.items))
        if part is not None and self._squares:
            self._total = part / factor if self._total is None else self._total.add_(part, alpha=1 / factor)

    def observe(self, grad: Tensor, items: float, taken: int, learner: LearnerView) -> None:
        """Look at a full window, also where its rule will make no update of it.

        Args:
            grad: what the backward passes have added up, shape (P,).
            items: Σ of the row weights.
            taken: micro-batches.
        """
        if not self._squares or (taken == 1 and not self._due.observes):
            return
        total, scale = (grad, self._scale) if self._total is None else (self._total, items)
        square = torch.dot(total, total) / (scale * scale)
        if self._due.observes:  # it counts rows of the stream, and replayed rows come on top of them
            self._due.observe([(each, count * self._fresh / items) for each, count in self._squares], square)
        if self._notes and taken > 1:
            trace, signal = trace_and_signal(self._squares, square, items)
            learner.note("noise_trace", trace)
            learner.note("noise_signal", signal)
            learner.note("noise_of_mean", trace / items)

    def clear(self) -> None:
        """Forget the window."""
        self._squares.clear()
        self._fresh, self._scale, self._total = 0, 0.0, None

    def state_dict(self) -> list[Any]:
        """What a restart inside the window needs."""
        return [[list(pair) for pair in self._squares], self._fresh, self._scale, self._total]

    def load_state_dict(self, state: list[Any]) -> None:
        """Resume from what `state_dict` gave."""
        squares, self._fresh, self._scale, self._total = state
        self._squares = [(square, items) for square, items in squares]
