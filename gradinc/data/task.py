"""One task of a stream, and what it has in common with the others."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradinc.data.batch import Batch
from gradinc.data.rows import Rows


@dataclass(frozen=True)
class Setting:
    """What the tasks of a stream have in common.

    Attributes:
        tasks: how many there are.
        outputs: of the model.
        memory_unit: what a method's ``memory`` counts examples of: all tasks, one task, or one class.
        classes: how many there are in all tasks together.
        pairs: the same with a class of two tasks counted twice.
        mean, std: what was subtracted from input units and divided by, per channel or feature.
        shape: of a row; None where it is not known.
    """

    tasks: int = 1
    outputs: int = 0
    memory_unit: str = "total"
    classes: int = 0
    pairs: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    shape: tuple[int, ...] | None = None

    def capacity(self, memory: int) -> int:
        """Return how many examples a memory holds in all, where ``memory`` is what a method's option says."""
        return memory * {"total": 1, "task": self.tasks, "class": max(1, self.classes)}[self.memory_unit]


@dataclass(frozen=True)
class Task:
    """One experience of a stream.

    Attributes:
        index: its place in the stream, from 0; where several are trained on together, that of the last.
        classes: labels that occur in it, as the model's outputs have them; None for regression.
        train, validation, test: its rows.
        setting: what all tasks of the stream have in common.
        tasks: the task that each training row is of, int64, shape (rows,), where they are of several.
    """

    index: int
    classes: tuple[int, ...] | None
    train: Rows
    validation: Rows
    test: Rows
    setting: Setting = field(default_factory=Setting)
    tasks: Tensor | None = None

    def batches(self, size: int, *, rows: int | None = None, random: torch.Generator | None = None) -> Iterator[Batch]:
        """Training rows as batches that are no part of the training, for a method's own use.

        Args:
            size: rows of a batch.
            rows: how many at most; None for all.
            random: draws which ones, and their order; None takes the first ones in theirs.
        """
        count = len(self.train)
        order = torch.arange(count)
        if random is not None:
            order = torch.randperm(count, generator=random, device=random.device).cpu()
        order = order[:rows]
        place = 0
        for x, y in self.train.batches(order, size):
            tasks = None
            if self.tasks is not None:
                tasks = self.tasks[order[place : place + len(y)].to(self.tasks.device)]
            place += len(y)
            yield Batch(x, y, self.index, float(len(y)), tasks=tasks)
