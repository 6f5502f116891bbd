"""What is minimised and what is reported: classification or regression."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gradinc.batch import Batch


class Criterion(ABC):
    """The loss of each row, and the measures made of its sums.

    Attributes:
        score: name of the measure that the best checkpoint and `budget.accuracy` go by.
        higher: whether a higher score is better.
    """

    score: ClassVar[str]
    higher: ClassVar[bool]

    @abstractmethod
    def __call__(self, batch: Batch, out: Tensor) -> Tensor:
        """Loss of each row, shape (rows,)."""

    @abstractmethod
    def total(self, batch: Batch, out: Tensor) -> Tensor:
        """Σᵢ cᵢ ℓᵢ over the rows, a scalar; c is the batch's row weight."""

    @abstractmethod
    def sums(self, y: Tensor, out: Tensor) -> Tensor:
        """What `measures` needs, as a float64 vector that adds up over batches of rows."""

    @abstractmethod
    def measures(self, sums: list[float], rows: int) -> dict[str, float]:
        """The reported numbers, from the sums over `rows` rows."""

    def better(self, new: float, old: float | None) -> bool:
        """Whether a score beats the best so far; a tie does not, and neither does NaN."""
        if old is None:
            return new == new
        return new > old if self.higher else new < old


class CrossEntropy(Criterion):
    """Softmax cross-entropy in nats; reports the mean loss and the accuracy, a share of 1."""

    score = "accuracy"
    higher = True

    def __call__(self, batch: Batch, out: Tensor) -> Tensor:
        return F.cross_entropy(out, batch.y, reduction="none")

    def total(self, batch: Batch, out: Tensor) -> Tensor:
        if batch.weight is None:
            return F.cross_entropy(out, batch.y, reduction="sum")
        return (self(batch, out) * batch.weight).sum()

    def sums(self, y: Tensor, out: Tensor) -> Tensor:
        loss = F.cross_entropy(out, y, reduction="sum")
        right = (out.argmax(1) == y).sum()
        return torch.stack((loss.double(), right.double()))

    def measures(self, sums: list[float], rows: int) -> dict[str, float]:
        loss, right = sums
        return {"loss": loss / rows, "accuracy": right / rows}


class SquaredError(Criterion):
    """Mean squared error over a row's targets; reports MSE and R², in the units of the targets."""

    score = "mse"
    higher = False

    def __call__(self, batch: Batch, out: Tensor) -> Tensor:
        return (out - batch.y).square().mean(1)

    def total(self, batch: Batch, out: Tensor) -> Tensor:
        rows = self(batch, out)
        return rows.sum() if batch.weight is None else (rows * batch.weight).sum()

    def sums(self, y: Tensor, out: Tensor) -> Tensor:
        y, out = y.double(), out.double()
        return torch.stack(((out - y).square().mean(1).sum(), y.mean(1).sum(), y.square().mean(1).sum()))

    def measures(self, sums: list[float], rows: int) -> dict[str, float]:
        error, first, second = (value / rows for value in sums)
        variance = second - first * first
        return {"mse": error, "r2": 1 - error / variance if variance > 0 else float("nan")}
