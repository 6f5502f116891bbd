"""What one forward and backward pass sees."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch.

    Attributes:
        x: inputs, shape (rows, *shape).
        y: labels, shape (rows,), or targets, shape (rows, targets).
        task: index of the task that the stream is in, from 0.
        items: Σ of the row weights: how much this batch counts in its window.
        weight: weight of each row in the criterion, shape (rows,); None where all are 1.
    """

    x: Tensor
    y: Tensor
    task: int
    items: float
    weight: Tensor | None = None
