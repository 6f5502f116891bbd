"""Criteria: the loss that is minimised and the measures that are reported, for classification and regression."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from gradinc.core.metric import Metric
from gradinc.data.batch import Batch
from gradinc.data.outputs import Outputs
from gradinc.data.task import Task

RowLoss = Callable[[Tensor, Tensor], Tensor]
"""Function of a model's outputs and of targets that returns the loss of each row, shape (rows,)."""


class Criterion(ABC):
    """The loss of each row, and the measures computed from sums over rows.

    Attributes:
        score: name of the measure that decides the best checkpoint and that `budget.accuracy` is compared with.
        higher: whether a higher score is better.
        metrics: further numbers that are measured, by name.
        online: name of the measure whose sum `prequential` returns.
        chunk: rows in one forward pass of an evaluation; fixed, since the last bits of a sum depend on it.
    """

    score: ClassVar[str]
    higher: ClassVar[bool]
    metrics: Mapping[str, Metric] = {}
    online: ClassVar[str]
    chunk: ClassVar[int] = 512

    @abstractmethod
    def __call__(self, batch: Batch, out: Tensor) -> Tensor:
        """Loss of each row, shape (rows,): the sum of its terms."""

    def terms(self, y: Tensor) -> Tensor | None:
        """Return the terms of the loss in each row: what the row adds to the divisor of the mean.

        A row with a single loss is one term. In a row of tokens every token with a loss is one; a class with a weight
        counts its weight. A window divides by the sum over all of its rows.

        Args:
            y: targets of the rows.

        Returns:
            Float, shape (rows,); None if each row is one term.
        """
        return None

    def mean(self, batch: Batch, out: Tensor) -> Tensor:
        """Return the loss of a batch alone, a scalar: Σ of the rows' losses divided by Σ of their terms."""
        rows, terms = self(batch, out), self.terms(batch.y)
        if batch.weight is None:
            return rows.mean() if terms is None else rows.sum() / terms.sum()
        divisor: float | Tensor = batch.items if terms is None else (batch.weight * terms).sum()
        return (rows * batch.weight).sum() / divisor

    def seen(self, batch: Batch, out: Tensor) -> Tensor:
        """Return the model's outputs as the loss sees them, shape (rows, outputs): outputs that do not count are -∞."""
        return out

    def tested(self, out: Tensor, task: int = 0, now: int = 0) -> Tensor:
        """Return the model's outputs for rows of a task as they are measured: outputs that do not count are -∞."""
        return out

    @property
    def masks(self) -> bool:
        """Return whether some outputs do not count in training."""
        return False

    @abstractmethod
    def total(self, batch: Batch, out: Tensor) -> Tensor:
        """Return Σᵢ cᵢ ℓᵢ over the rows, a scalar; c is the batch's row weight."""

    @abstractmethod
    def sums(self, y: Tensor, out: Tensor, task: int = 0, now: int = 0) -> Tensor:
        """Return the sums that `measures` needs, over some rows, as a float64 vector; `merged` joins two such vectors.

        Args:
            task: the task of the rows.
            now: the last task that was trained on.
        """

    def merged(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the `sums` of two batches together, from the `sums` of each."""
        return one + other

    @abstractmethod
    def prequential(self, batch: Batch, out: Tensor) -> Tensor:
        """Return the sum of the measure `online` over the stream's rows of a batch, a scalar on the device.

        Paper: Dawid 1984, Present position and potential developments: some personal views (the prequential approach)

        Args:
            out: the model's outputs for the batch before it is trained on, shape (rows, outputs).
        """

    @abstractmethod
    def measures(self, sums: list[float], rows: int) -> dict[str, float]:
        """Return the reported numbers, from the merged `sums` of all `rows` rows."""

    def better(self, new: float, old: float | None) -> bool:
        """Return whether a score is better than the best so far; False for a tie or NaN."""
        if old is None:
            return new == new
        return new > old if self.higher else new < old


def with_terms(task: Task, criterion: Criterion) -> Task:
    """Return a task with the terms of the loss in each of its training rows."""
    terms = [criterion.terms(y) for y in task.train.targets()]
    found = [each.double().cpu() for each in terms if each is not None]
    return replace(task, terms=torch.cat(found)) if found else task


class CrossEntropy(Criterion):
    """Softmax cross-entropy in nats; reports the mean loss and the accuracy, a share of 1.

    Args:
        outputs: which outputs count, if tasks of the stream differ in their outputs. If all outputs count in testing,
            ``accuracy_in_task`` is also reported: the accuracy of the same logits with other tasks' outputs masked.
        weights: weight of each class, shape (outputs,); None if all are 1. The loss of a row is multiplied by the
            weight of its class, and the mean is divided by the sum of these weights, as in PyTorch.
    """

    score = online = "accuracy"
    higher = True

    def __init__(self, outputs: Outputs | None = None, weights: Tensor | None = None) -> None:
        self.outputs, self.weights = outputs, weights

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the loss of each row times the weight of its class, shape (rows,).

        Args:
            logits: the outputs as the loss sees them, shape (rows, outputs): outputs that do not count are -∞.
        """
        return F.cross_entropy(logits, y, self.weights_for(logits), reduction="none")

    def summed(self, logits: Tensor, y: Tensor) -> Tensor:
        """Return the sum of `losses`, a scalar."""
        return F.cross_entropy(logits, y, self.weights_for(logits), reduction="sum")

    def weights_for(self, logits: Tensor) -> Tensor | None:
        """Return the weights of the classes in the dtype of these logits."""
        return None if self.weights is None else self.weights.to(logits.dtype)

    def __call__(self, batch: Batch, out: Tensor) -> Tensor:
        return self.losses(self.seen(batch, out), batch.y)

    def terms(self, y: Tensor) -> Tensor | None:
        return None if self.weights is None else self.weights[y]

    def total(self, batch: Batch, out: Tensor) -> Tensor:
        if batch.weight is None:
            return self.summed(self.seen(batch, out), batch.y)
        return (self(batch, out) * batch.weight).sum()

    def sums(self, y: Tensor, out: Tensor, task: int = 0, now: int = 0) -> Tensor:
        logits = self.tested(out, task, now)
        found = [self.summed(logits, y).double(), (logits.argmax(1) == y).sum().double()]
        if self.outputs is not None and self.outputs.test != "task":
            found.append(((out + self.outputs.of_task[task]).argmax(1) == y).sum().double())
        if self.weights is not None:
            found.append(self.weights[y].sum().double())
        return torch.stack(found)

    def prequential(self, batch: Batch, out: Tensor) -> Tensor:
        fresh = batch.fresh
        logits, y = out.detach()[:fresh], batch.y[:fresh]
        return ((logits if self.outputs is None else self.outputs.judged(batch, logits)).argmax(1) == y).sum()

    def measures(self, sums: list[float], rows: int) -> dict[str, float]:
        loss, *right = sums
        terms = float(rows) if self.weights is None else right.pop()
        names = ("accuracy", "accuracy_in_task")
        return {"loss": loss / terms, **dict(zip(names, (each / rows for each in right), strict=False))}

    def tested(self, out: Tensor, task: int = 0, now: int = 0) -> Tensor:
        return out if self.outputs is None else self.outputs.tested(out, task, now)

    def seen(self, batch: Batch, out: Tensor) -> Tensor:
        seen = out if self.outputs is None else self.outputs.trained(batch, out)
        return seen if batch.mask is None else seen + batch.mask

    @property
    def masks(self) -> bool:
        return self.outputs is not None and self.outputs.train != "all"


class ClassLoss(CrossEntropy):
    """Another loss for classes, with the same measures and weights.

    Args:
        loss: function of logits, shape (rows, outputs), and labels, shape (rows,), that returns the loss of each row.
            Outputs that do not count are -∞.
    """

    def __init__(self, loss: RowLoss, outputs: Outputs | None = None, weights: Tensor | None = None) -> None:
        super().__init__(outputs, weights)
        self._loss = loss

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        rows, weights = self._loss(logits, y), self.weights_for(logits)
        return rows if weights is None else rows * weights[y]

    def summed(self, logits: Tensor, y: Tensor) -> Tensor:
        return self.losses(logits, y).sum()


class OneHotError(ClassLoss):
    """Mean squared error to 1 for a row's class and 0 for the other classes; also reports the accuracy.

    Masked outputs have the error 0; the sum of the errors is still divided by the number of all outputs.
    """

    def __init__(self, outputs: Outputs | None = None, weights: Tensor | None = None) -> None:
        super().__init__(_one_hot_errors, outputs, weights)


class BinaryCrossEntropy(ClassLoss):
    """Mean over outputs of the binary cross-entropy to 1 for a row's class and 0 for the other classes.

    Masked outputs have no error and do not count in the mean.
    """

    def __init__(self, outputs: Outputs | None = None, weights: Tensor | None = None) -> None:
        super().__init__(self._rows, outputs, weights)

    def _rows(self, logits: Tensor, y: Tensor) -> Tensor:
        return self.errors(logits, one_hot(logits, y)).sum(1)

    def errors(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return what each output adds to the loss of its row, shape (rows, outputs).

        Args:
            logits: the outputs as the loss sees them, shape (rows, outputs): outputs that do not count are -∞.
            targets: probabilities, shape (rows, outputs).
        """
        counts = logits.isfinite()
        entropy = F.binary_cross_entropy_with_logits(logits.masked_fill(~counts, 0.0), targets, reduction="none")
        return entropy.masked_fill(~counts, 0.0) / counts.sum(1, keepdim=True)


def one_hot(logits: Tensor, y: Tensor) -> Tensor:
    """Return 1 for a row's class and 0 for the other classes, with the shape and dtype of the logits."""
    return torch.zeros_like(logits).scatter_(1, y.view(-1, 1), 1.0)


def _one_hot_errors(logits: Tensor, y: Tensor) -> Tensor:
    return (logits - one_hot(logits, y)).masked_fill(logits.isinf(), 0.0).square().mean(1)


class SquaredError(Criterion):
    """Mean squared error over a row's targets; reports the MSE, in the targets' units squared, and R².

    R² is the mean of the R² of each target, so that targets with different units or spreads have the same weight. A
    constant target has R² 1 if every prediction is exact and 0 otherwise, as in scikit-learn's ``r2_score``.
    """

    score = online = "mse"
    higher = False

    def __call__(self, batch: Batch, out: Tensor) -> Tensor:
        return (out - batch.y).square().mean(1)

    def total(self, batch: Batch, out: Tensor) -> Tensor:
        rows = self(batch, out)
        return rows.sum() if batch.weight is None else (rows * batch.weight).sum()

    def sums(self, y: Tensor, out: Tensor, task: int = 0, now: int = 0) -> Tensor:
        """Return the rows, Σ of their errors, and for each target Σ (ŷ − y)², the mean of y and Σ (y − mean)²."""
        y, out = y.double(), out.double()
        squares = (out - y).square()
        # Differences to the first row are exactly 0 for a constant target, and small for large targets.
        differences = y - y[0]
        mean = differences.mean(0)
        error = torch.stack((y.new_tensor(len(y)), squares.mean(1).sum()))
        return torch.cat((error, squares.sum(0), y[0] + mean, (differences - mean).square().sum(0)))

    def prequential(self, batch: Batch, out: Tensor) -> Tensor:
        fresh = batch.fresh
        return (out.detach()[:fresh] - batch.y[:fresh]).square().mean(1).sum(dtype=torch.float64)

    def merged(self, one: Tensor, other: Tensor) -> Tensor:
        """Return the `sums` of two batches together.

        Paper: Chan et al. 1979, Updating formulae and a pairwise algorithm for computing sample variances
        """
        total = one + other
        targets = (len(total) - 2) // 3
        mean, spread = slice(2 + targets, 2 + 2 * targets), slice(2 + 2 * targets, None)
        share, apart = other[0] / total[0], other[mean] - one[mean]
        total[mean] = one[mean] + apart * share
        total[spread] += apart.square() * one[0] * share
        return total

    def measures(self, sums: list[float], rows: int) -> dict[str, float]:
        targets = (len(sums) - 2) // 3
        errors, spreads = sums[2 : 2 + targets], sums[2 + 2 * targets :]
        scores = [1 - e / s if s > 0 else float(e == 0) for e, s in zip(errors, spreads, strict=True)]
        return {"mse": sums[1] / rows, "r2": sum(scores) / targets}


class ValueLoss(SquaredError):
    """Another loss for targets that are numbers; reports its mean, the MSE and R².

    Args:
        loss: function of outputs and targets, shape (rows, targets) each, that returns the loss of each row.
    """

    def __init__(self, loss: RowLoss) -> None:
        self._loss = loss

    def __call__(self, batch: Batch, out: Tensor) -> Tensor:
        return self._loss(out, batch.y)

    def sums(self, y: Tensor, out: Tensor, task: int = 0, now: int = 0) -> Tensor:
        return torch.cat((super().sums(y, out, task, now), self._loss(out, y).sum().double().view(1)))

    def merged(self, one: Tensor, other: Tensor) -> Tensor:
        return torch.cat((super().merged(one[:-1], other[:-1]), one[-1:] + other[-1:]))

    def measures(self, sums: list[float], rows: int) -> dict[str, float]:
        return {"loss": sums[-1] / rows, **super().measures(sums[:-1], rows)}
