"""What one forward and backward pass sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """One micro-batch: rows of the stream first, then what a memory replays.

    Attributes:
        x: inputs, shape (rows, *shape).
        y: labels, shape (rows,), or targets, shape (rows, targets).
        task: index of the task that the stream is in, from 0.
        items: Σ of the row weights: how much this batch counts in its window.
        weight: weight of each row in the criterion, shape (rows,); None where all are 1.
        tasks: index of the task that each row is of, int64, shape (rows,); None where all are of `task`.
        replayed: how many of the rows come from a memory.
        kept: what a memory keeps of its rows besides, by name, e.g. the model's outputs of old, shape
            (replayed rows, outputs).
    """

    x: Tensor
    y: Tensor
    task: int
    items: float
    weight: Tensor | None = None
    tasks: Tensor | None = None
    replayed: int = 0
    kept: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def fresh(self) -> int:
        """How many rows, the first ones, come from the stream."""
        return self.x.shape[0] - self.replayed

    @property
    def task_of_rows(self) -> Tensor:
        """The task of each row, int64, shape (rows,)."""
        if self.tasks is None:
            return torch.full((self.x.shape[0],), self.task, dtype=torch.int64, device=self.y.device)
        return self.tasks

    def replaying(self, x: Tensor, y: Tensor, tasks: Tensor, weight: float = 1.0, **kept: Tensor) -> Batch:
        """This batch with rows of a memory behind its own.

        Args:
            x, y, tasks: the rows, their labels and the tasks that they are of.
            weight: of each of them in the criterion; 0 leaves them to a method's own `loss`.
            kept: goes into `Batch.kept`.
        """
        rows = x.shape[0]
        weights = self.weight
        if weights is None and weight != 1:
            weights = self.x.new_ones(self.x.shape[0])
        if weights is not None:
            weights = torch.cat((weights, weights.new_full((rows,), weight)))
        return Batch(
            torch.cat((self.x, x)),
            torch.cat((self.y, y)),
            self.task,
            self.items + weight * rows,
            weights,
            torch.cat((self.task_of_rows, tasks)),
            self.replayed + rows,
            {**self.kept, **kept},
        )

    def state(self) -> list[Any]:
        """The fields in order, as a checkpoint has them; ``Batch(*state)`` gives the batch back."""
        return [getattr(self, each.name) for each in fields(self)]
