"""Noise among the gradients of a window's micro-batches, for adaptive windows and diagnostics."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gradinc.core.due import Due
from gradinc.core.noise_scale import trace_and_signal
from gradinc.core.view import LearnerView
from gradinc.core.weights import Weights
from gradinc.data.batch import Batch


class Spread:
    """The squared norms of the mean gradients of a window's micro-batches and of the window.

    The window's mean covers its rows, whatever its rule computes from their gradients.

    Args:
        due: receives a full window, if it observes.
        notes: whether the noise is logged. If it is only logged, only a window's first micro-batch is measured, which
            costs almost nothing.
    """

    def __init__(self, due: Due, *, notes: bool) -> None:
        self._due, self._notes = due, notes
        self._squares: list[tuple[Tensor, float]] = []  # ‖ḡₖ‖² of each micro-batch and its items
        self._fresh = 0  # rows of the stream
        self._scale = 0.0  # Σ of the row weights times the factors of their micro-batches
        self._total: Tensor | None = None  # Σ of row weights times mean gradients, shape (P,), if stored nowhere else

    def wants(self, taken: int) -> bool:
        """Return whether to measure the norm of the next micro-batch's gradient, after `taken` of the window."""
        return (self._due.observes and (taken == 0 or bool(self._squares))) or (self._notes and taken == 0)

    @property
    def keeps(self) -> bool:
        """Return whether norms of this window's micro-batches were measured."""
        return bool(self._squares)

    def add(self, square: Tensor | None, factor: float, batch: Batch, part: Tensor | None = None) -> None:
        """Add a micro-batch.

        Args:
            square: the squared norm of its gradient, if measured.
            factor: the factor of its summed objective.
            part: its gradient, shape (P,), if the rule does not add it to the window's vector.
        """
        share = factor * batch.items
        self._fresh += batch.fresh
        self._scale += share
        if square is not None:
            self._squares.append((square / (share * share), batch.items))
        if part is not None and self._squares:
            self._total = part / factor if self._total is None else self._total.add_(part, alpha=1 / factor)

    def observe(self, weights: Weights, items: float, taken: int, learner: LearnerView) -> None:
        """Measure a full window, even if its rule will make no update from it.

        Args:
            weights: their gradient is the sum of the backward passes.
            items: Σ of the row weights.
            taken: micro-batches.
        """
        if taken == 1 and not self._due.observes:
            return
        total, scale = (weights.grad, self._scale) if self._total is None else (self._total, items)
        square = torch.dot(total, total) / (scale * scale)
        if self._due.observes:  # it counts rows of the stream, without replayed rows
            self._due.observe([(each, count * self._fresh / items) for each, count in self._squares], square)
        if self._notes and taken > 1:
            trace, signal = trace_and_signal(self._squares, square, items)
            learner.note("noise_trace", trace)
            learner.note("noise_signal", signal)
            learner.note("noise_of_mean", trace / items)

    def clear(self) -> None:
        """Discard the measurements of the window."""
        self._squares.clear()
        self._fresh, self._scale, self._total = 0, 0.0, None

    def state_dict(self) -> list[Any]:
        """Return the state that a restart inside the window needs."""
        return [[list(pair) for pair in self._squares], self._fresh, self._scale, self._total]

    def load_state_dict(self, state: list[Any]) -> None:
        """Resume from the result of `state_dict`."""
        squares, self._fresh, self._scale, self._total = state
        self._squares = [(square, items) for square, items in squares]
