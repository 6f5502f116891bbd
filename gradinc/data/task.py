"""One task of a stream, and the properties that all its tasks share."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.data.batch import Batch, items_of
from gradinc.data.rows import Rows
from gradinc.data.text import Tokens


@dataclass(frozen=True)
class Setting:
    """Properties that all tasks of a stream share.

    Attributes:
        tasks: number of tasks; 0 if it is not known.
        outputs: number of outputs of the model.
        memory_unit: unit of a method's ``memory``: examples in all, per task, or per class.
        classes: number of classes in all tasks together.
        pairs: number of classes, with a class of two tasks counted twice.
        mean, std: subtracted from input units, and divisor, per channel or feature.
        shape: shape of a row; None if not known.
        text: the tokens of rows of text; None for other rows.
    """

    tasks: int = 1
    outputs: int = 0
    memory_unit: str = "total"
    classes: int = 0
    pairs: int = 0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    shape: tuple[int, ...] | None = None
    text: Tokens | None = None

    def capacity(self, memory: int) -> int:
        """Return the total number of examples in a memory, for a method's option ``memory``.

        Raises:
            UserError: the unit is a task, and the number of tasks is not known.
        """
        if self.memory_unit == "task" and not self.tasks:
            what = "is not given, and stream.memory_unit=task makes the memory larger with each task"
            raise UserError("tasks", what, "Give the number of tasks")
        return memory * {"total": 1, "task": self.tasks, "class": max(1, self.classes)}[self.memory_unit]

    def least(self, examples: int) -> int:
        """Return the smallest option ``memory`` with room for a number of examples in total."""
        return math.ceil(examples / self.capacity(1))

    @property
    def per(self) -> str:
        """Return the words after an option ``memory`` in a message: nothing, or its unit."""
        return {"total": "", "task": " for each task", "class": " for each class"}[self.memory_unit]


@dataclass(frozen=True)
class Task:
    """One experience of a stream.

    Attributes:
        index: its position in the stream, from 0; for tasks trained on together, the last one's.
        classes: labels that occur in it, as outputs of the model; None for regression.
        train, validation, test: its rows.
        setting: properties that all tasks of the stream share.
        tasks: the task of each training row, int64, shape (rows,), if the rows are of several tasks.
        terms: terms of the loss in each training row, float64, shape (rows,), on the CPU; None if each row is one.
    """

    index: int
    classes: tuple[int, ...] | None
    train: Rows
    validation: Rows
    test: Rows
    setting: Setting = field(default_factory=Setting)
    tasks: Tensor | None = None
    terms: Tensor | None = None

    def batches(
        self, size: int, *, rows: int | None = None, random: torch.Generator | None = None, balanced: bool = False
    ) -> Iterator[Batch]:
        """Yield training rows as batches outside the training, for a method's own use.

        Args:
            size: rows of a batch.
            rows: largest number of rows; None for all.
            random: draws the rows and their order; None uses the first rows in their order.
            balanced: whether `random` draws the same number of rows of each class; the targets must be labels. If a
                class has too few rows, the others have more. If the rows are no multiple of the classes, random
                classes have one row more.
        """
        count = len(self.train)
        order = torch.arange(count)
        if random is not None:
            order = torch.randperm(count, generator=random, device=random.device).cpu()
            order = order[_in_turn(self.train.y.cpu()[order], random)] if balanced else order
        order = order[:rows]
        place = 0
        for x, y in self.train.batches(order, size):
            own = order[place : place + len(y)]
            tasks = None if self.tasks is None else self.tasks[own.to(self.tasks.device)]
            terms = None if self.terms is None else self.terms[own]
            place += len(y)
            items = items_of(len(y), None, terms)
            yield Batch(x, y, self.index, items, tasks=tasks, terms=None if terms is None else terms.to(y.device))


def _in_turn(labels: Tensor, random: torch.Generator) -> Tensor:
    """Return positions in which the classes take turns, int64, shape (rows,): the first row of each, the second, …

    Args:
        labels: int64, shape (rows,), on the CPU; each class's rows keep their order.
        random: draws the order of the classes within a turn, so that no class is always among the first.
    """
    classes, own = labels.unique(return_inverse=True)
    own = torch.randperm(len(classes), generator=random, device=random.device).cpu()[own]
    by_class = own.argsort(stable=True)
    grouped = own[by_class]
    turn = torch.arange(len(grouped)) - torch.searchsorted(grouped, grouped)
    return by_class[(turn * len(classes) + grouped).argsort()]
