"""The outputs of the model for the classes of each task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from gradinc.config.protocol import Protocol
from gradinc.data.outputs import Outputs


@dataclass(frozen=True)
class Labels:
    """Outputs and masks of a stream.

    Attributes:
        of_task: for each task the output of each of its classes, in the order of `classes`.
        classes: for each task the labels of the data set that occur in it.
        outputs: number of outputs of the model.
        protocol: which outputs count in training and in testing. With ``heads=multi`` each task has its own head:
            outputs that only its own rows change.
    """

    of_task: tuple[tuple[int, ...], ...]
    classes: tuple[tuple[int, ...], ...]
    outputs: int
    protocol: Protocol

    @property
    def heads(self) -> list[range]:
        """The outputs of each task, if they are contiguous."""
        return [range(own[0], own[-1] + 1) for own in self.of_task]

    @property
    def all_count(self) -> bool:
        """Return whether every task has its own labels, and all of them count in training."""
        return self.protocol.train_logits == "all" and all(self.natural(task) for task in range(len(self.classes)))

    def natural(self, task: int) -> bool:
        """Return whether a task's labels equal its outputs."""
        return self.of_task[task] == self.classes[task]

    def map(self, task: int, y: Tensor) -> Tensor:
        """Map labels of the data set to outputs, both int64, shape (rows,)."""
        if self.natural(task):
            return y
        table = torch.full((max(self.classes[task]) + 1,), -1, dtype=torch.int64)
        table[list(self.classes[task])] = torch.tensor(self.of_task[task])
        return table.to(y.device)[y]

    def visible(self, device: torch.device) -> Outputs | None:
        """Return the outputs for the criterion; None if every task has all outputs."""
        if all(len(set(own)) == self.outputs for own in self.of_task):
            return None
        of_task = torch.full((len(self.of_task), self.outputs), float("-inf"))
        for task, own in enumerate(self.of_task):
            of_task[task, list(own)] = 0.0
        return Outputs(of_task.to(device), self.protocol.train_logits, self.protocol.test_logits)


def assign(classes: Sequence[tuple[int, ...]], protocol: Protocol) -> Labels:
    """Give every class of every task an output.

    - ``domain``: tasks share their outputs; a class is identified by its position in its task.
    - ``class``: every class has an output. If tasks have the same classes, a class has a different output in each
      task.
    - ``task``: with ``heads=multi`` each task has its own outputs, which do not change while others train; otherwise
      the outputs are as for ``class``, and other tasks' outputs are masked.
    """
    if protocol.heads == "multi":
        ends = accumulate(len(own) for own in classes)
        of_task = tuple(tuple(range(end - len(own), end)) for end, own in zip(ends, classes, strict=True))
    elif protocol.scenario == "domain":
        shared = is_shared(classes)
        of_task = tuple(own if shared else tuple(range(len(own))) for own in classes)
    elif is_shared(classes):
        span = max(classes[0]) + 1
        of_task = tuple(tuple(task * span + label for label in own) for task, own in enumerate(classes))
    else:
        of_task = tuple(classes)
    return Labels(of_task, tuple(classes), max(max(own) for own in of_task) + 1, protocol)


def is_shared(classes: Sequence[tuple[int, ...]]) -> bool:
    """Return whether several tasks have the same classes."""
    return len(set(classes)) == 1 and len(classes) > 1
