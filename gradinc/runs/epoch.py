"""The micro-batches of one epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradinc.base.randomness import generator
from gradinc.config.schema import DataSection
from gradinc.core.world import World
from gradinc.data.augment import augment
from gradinc.data.batch import Batch
from gradinc.data.task import Task


@dataclass(frozen=True)
class Epoch:
    """One pass over the training rows of a task, in an order determined by seed, task and number.

    Args:
        number: number of the epoch in its task, from 0.
        seed: seed of the run.
        options: the ``data`` section of the config.
        fill: value of the pixels that augmentation moves into an image.
        world: the processes that share the micro-batches.
        device: device that the batches are moved to.
    """

    task: Task
    number: int
    seed: int
    options: DataSection
    fill: float | Tensor
    world: World
    device: torch.device

    def rows(self, first: int, count: int) -> int:
        """Return the rows in a window of `count` micro-batches from `first` on, which may pass the epoch's end."""
        size = self.options.batch_size
        if first + count < self.length:
            return count * size
        epochs, end = divmod(first + count, self.length)
        return epochs * len(self.task.train) + (end - first) * size

    def batches(self, begun: int) -> Iterator[Batch]:
        """Yield this process's micro-batches from number `begun` on; each is read on demand."""
        task, size = self.task, self.options.batch_size
        order = torch.arange(len(task.train))
        if self.options.shuffle:
            order = torch.randperm(len(order), generator=generator(self.seed, "order", task.index, self.number))
        numbers = range(begun + self.world.rank, self.length, self.world.size)
        for index, (x, y) in zip(numbers, task.train.batches(*self._own(order, begun)), strict=True):
            if self.options.augment:
                draws = generator(self.seed, "augment", task.index, self.number, index, device=self.device)
                x = augment(x, self.options.augment, draws, self.fill)
            tasks = None
            if task.tasks is not None:
                own = order[index * size : index * size + len(y)]
                tasks = task.tasks[own.to(self.device, non_blocking=True)]
            yield Batch(x, y, task.index, y.shape[0], tasks=tasks)

    @cached_property
    def length(self) -> int:
        """Micro-batches of the epoch, over all processes."""
        return math.ceil(len(self.task.train) / self.options.batch_size)

    def _own(self, order: Tensor, begun: int) -> tuple[Tensor, int, int]:
        """The order, size and first number of this process's micro-batches, as `Rows.batches` takes them."""
        size = self.options.batch_size
        if self.world.alone:
            return order, size, begun
        own = order[begun * size :].split(size)[self.world.rank :: self.world.size]
        return (torch.cat(own) if own else order[:0]), size, 0
