"""What one forward and backward pass sees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
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
        items: how much this batch counts in its window, which is divided by the sum of them: Σ of the row weights,
            but for rows whose mean is added to that of others (`mir`).
        weight: weight of each row in the criterion, shape (rows,); None where all are 1.
        tasks: index of the task that each row is of, int64, shape (rows,); None where all are of `task`.
        replayed: how many of the rows come from a memory.
        kept: what methods keep of rows besides, as ``part.field``, e.g. the model's outputs of old, shape (rows of
            the part, outputs).
        parts: where the rows are that a method finds again by name: the first one, and the one behind the last.
        mask: 0 for the outputs that count for a row and -∞ for the others, shape (rows, outputs), on top of what
            the scenario masks; None where there is nothing more.
        heads: tasks, besides those of the rows, whose heads a method's `loss` goes through.
    """

    x: Tensor
    y: Tensor
    task: int
    items: float
    weight: Tensor | None = None
    tasks: Tensor | None = None
    replayed: int = 0
    kept: Mapping[str, Tensor] = field(default_factory=dict)
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    mask: Tensor | None = None
    heads: tuple[int, ...] = ()

    @property
    def fresh(self) -> int:
        """Return how many rows, the first ones, come from the stream."""
        return self.x.shape[0] - self.replayed

    @property
    def task_of_rows(self) -> Tensor:
        """The task of each row, int64, shape (rows,)."""
        if self.tasks is None:
            return torch.full((self.x.shape[0],), self.task, dtype=torch.int64, device=self.y.device)
        return self.tasks

    def rows(self, first: int, last: int) -> Batch:
        """Some of the rows in a batch of their own, without their parts."""
        chosen = slice(first, last)
        weight = None if self.weight is None else self.weight[chosen]
        return Batch(
            self.x[chosen],
            self.y[chosen],
            self.task,
            float(last - first) if weight is None else float(weight.sum()),
            weight,
            None if self.tasks is None else self.tasks[chosen],
            mask=None if self.mask is None else self.mask[chosen],
        )

    def part(self, name: str, out: Tensor) -> tuple[Batch, Tensor]:
        """The rows of a part, each with weight 1, and the model's outputs for them, shape (rows of the part, outputs).

        Args:
            name: what they are found by; what is kept of them has the names of its fields.
            out: the model's outputs for all rows, shape (rows, outputs).
        """
        first, last = self.parts[name]
        kept = {key.removeprefix(f"{name}."): value for key, value in self.kept.items() if key.startswith(f"{name}.")}
        rows = replace(self, weight=None).rows(first, last)
        return replace(rows, kept=kept), out[first:last]

    def keeping(self, name: str, first: int, last: int, **fields: Tensor) -> Batch:
        """This batch with some of its rows to be found by a name, and what is kept of them."""
        kept = {f"{name}.{key}": value for key, value in fields.items()}
        return replace(self, kept={**self.kept, **kept}, parts={**self.parts, name: (first, last)})

    def replaying(
        self, x: Tensor, y: Tensor, tasks: Tensor, weight: float = 1.0, name: str = "", **kept: Tensor
    ) -> Batch:
        """This batch with rows of a memory behind its own.

        Args:
            x, y, tasks: the rows, their labels and the tasks that they are of.
            weight: of each of them in the criterion; 0 leaves them to a method's own `loss`.
            name: what `part` finds them by.
            kept: what is kept of them besides.
        """
        before, rows = self.x.shape[0], x.shape[0]
        weights, mask = self.weight, self.mask
        if weights is None and weight != 1:
            weights = self.x.new_ones(before)
        if weights is not None:
            weights = torch.cat((weights, weights.new_full((rows,), weight)))
        if mask is not None:
            mask = torch.cat((mask, mask.new_zeros(rows, mask.shape[1])))
        batch = Batch(
            torch.cat((self.x, x)),
            torch.cat((self.y, y)),
            self.task,
            self.items + weight * rows,
            weights,
            torch.cat((self.task_of_rows, tasks)),
            self.replayed + rows,
            self.kept,
            self.parts,
            mask,
            self.heads,
        )
        return batch.keeping(name, before, before + rows, **kept) if name else batch

    def state(self) -> list[Any]:
        """The fields in order, as a checkpoint has them; ``Batch(*state)`` gives the batch back."""
        return [getattr(self, each.name) for each in fields(self)]
