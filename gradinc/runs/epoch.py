"""The micro-batches of one epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Generator, Tensor

from gradinc.base.randomness import generator
from gradinc.config.schema import DataSection
from gradinc.core.plan import Last, extent, usable
from gradinc.core.world import World
from gradinc.data.augment import augment
from gradinc.data.batch import Batch
from gradinc.data.task import Task

GROUPED = 50
"""Micro-batches whose rows are sorted by length together."""


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

    def planned(self, first: int, count: int) -> float:
        """Return the items in a window of `count` micro-batches from `first` on, which may pass the epoch's end."""
        size = self.options.batch_size
        if self.task.terms is None:
            if first + count < self.length:
                return count * size
            epochs, end = divmod(first + count, self.length)
            return epochs * len(self.task.train) + (end - first) * size
        total, number, items = 0.0, self.number, self._items
        while count > 0:
            own = items[first : first + count]
            total, count, first, number = sum(own, total), count - len(own), 0, number + 1
            if count > 0:
                items = self._sums(self.task.terms, self._order(number))
        return total

    def window(self, first: int, size: int, last: Last) -> int:
        """Return the number of micro-batches of the window that begins with number `first` (`extent`)."""
        return extent(first, usable(len(self.task.train), self.options.batch_size, last), size, last)

    def batches(self, begun: int, end: int | None = None, repeat: int = 0) -> Iterator[Batch]:
        """Yield this process's micro-batches from number `begun` on; each is read on demand.

        Args:
            end: number after the last one; None for all, which several processes need.
            repeat: number of earlier updates from these micro-batches.
        """
        task, size, order = self.task, self.options.batch_size, self._own_order
        lengths, terms = task.train.lengths, task.terms
        numbers = range(begun + self.world.rank, self.length if end is None else end, self.world.size)
        if end is not None:
            order = order[: end * size]
        for index, (x, y) in zip(numbers, task.train.batches(*self._own(order, begun)), strict=True):
            if self.options.augment:
                again = [repeat] if repeat else []
                draws = generator(self.seed, "augment", task.index, self.number, index, *again, device=self.device)
                x = augment(x, self.options.augment, draws, self.fill)
            own = order[index * size : index * size + len(y)]
            tasks = None if task.tasks is None else task.tasks[own.to(self.device, non_blocking=True)]
            batch = Batch(x, y, task.index, y.shape[0], tasks=tasks, repeat=repeat)
            if lengths is not None and not repeat:
                batch = replace(batch, tokens=int(lengths[own].sum()))
            if terms is not None:
                counts = terms[own].to(self.device, non_blocking=True)
                batch = replace(batch, items=self._items[index], terms=counts)
            yield batch

    @cached_property
    def length(self) -> int:
        """Micro-batches of the epoch, over all processes."""
        return math.ceil(len(self.task.train) / self.options.batch_size)

    @cached_property
    def _own_order(self) -> Tensor:
        return self._order(self.number)

    @cached_property
    def _items(self) -> list[float]:
        """The items of each micro-batch, if rows have other numbers of terms than 1."""
        assert self.task.terms is not None
        return self._sums(self.task.terms, self._own_order)

    def _order(self, number: int) -> Tensor:
        """Return the order of the rows in an epoch of the task, int64, on the CPU."""
        count, lengths = len(self.task.train), self.task.train.lengths
        if not self.options.shuffle:
            return torch.arange(count)
        draws = generator(self.seed, "order", self.task.index, number)
        order = torch.randperm(count, generator=draws)
        if not self.options.group_by_length or lengths is None:  # states that a model computed have one length
            return order
        return by_length(order, lengths, self.options.batch_size, draws)

    def _sums(self, terms: Tensor, order: Tensor) -> list[float]:
        """Return Σ of the terms of the rows of each micro-batch."""
        return [float(part.sum()) for part in terms[order].split(self.options.batch_size)]

    def _own(self, order: Tensor, begun: int) -> tuple[Tensor, int, int]:
        """The order, size and first number of this process's micro-batches, as `Rows.batches` takes them."""
        size = self.options.batch_size
        if self.world.alone:
            return order, size, begun
        own = order[begun * size :].split(size)[self.world.rank :: self.world.size]
        return (torch.cat(own) if own else order[:0]), size, 0


def by_length(order: Tensor, lengths: Tensor, size: int, draws: Generator) -> Tensor:
    """Return an order in which the rows of a micro-batch have similar lengths.

    The rows of `GROUPED` micro-batches at a time are sorted, and then the micro-batches are shuffled. So which rows
    meet in a micro-batch changes from epoch to epoch. The short last micro-batch has rows of any length.

    Args:
        order: row numbers in random order, int64, shape (n,).
        lengths: tokens of each row, int64, shape (rows,).
        size: rows of a micro-batch.
        draws: makes the order of the micro-batches.
    """
    whole = len(order) // size * size
    groups = order[:whole].split(GROUPED * size)
    grouped = torch.cat([group[lengths[group].argsort(stable=True)] for group in groups]).view(-1, size)
    shuffled = grouped[torch.randperm(len(grouped), generator=draws)]
    return torch.cat((shuffled.flatten(), order[whole:]))
