"""The outputs of a model that belong to each task, and those that count."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradinc.config.protocol import Visible
from gradinc.data.batch import Batch


@dataclass(frozen=True)
class Outputs:
    """The outputs of the model that belong to each task, and those that count.

    All other outputs are masked: their logits become -∞.

    Attributes:
        of_task: 0 for the outputs of a task and -∞ for the others, shape (tasks, outputs).
        train, test: which outputs count in training and in testing.
    """

    of_task: Tensor
    train: Visible = "all"
    test: Visible = "all"

    def trained(self, batch: Batch, out: Tensor) -> Tensor:
        """Return the logits of a batch as the criterion sees them, shape (rows, outputs)."""
        if self.train == "all":
            return out
        if self.train == "seen":
            return out + self._seen(batch.task)
        return out + self.of_task[batch.task if batch.tasks is None else batch.tasks]

    def tested(self, out: Tensor, task: int, now: int) -> Tensor:
        """Return the logits of a task's test rows after the training on task `now`."""
        if self.test == "all":
            return out
        return out + (self._seen(now) if self.test == "seen" else self.of_task[task])

    def judged(self, batch: Batch, out: Tensor) -> Tensor:
        """Return the logits of the first rows of a batch as testing sees them, shape (rows, outputs)."""
        if self.test == "all":
            return out
        if self.test == "seen":
            return out + self._seen(batch.task)
        return out + self.of_task[batch.task if batch.tasks is None else batch.tasks[: len(out)]]

    def _seen(self, task: int) -> Tensor:
        return self._until[task]

    @cached_property
    def _until(self) -> Tensor:
        """The outputs of the tasks up to each task, 0 or -∞, shape (tasks, outputs), computed once for all tasks."""
        with torch.inference_mode(False):  # the first access may be in training or in evaluation
            return self.of_task.cummax(0).values

    def old(self, task: int) -> Tensor:
        """Return the outputs to preserve while a task is trained on, in groups with a separate softmax.

        Returns:
            0 for the outputs of a group and -∞ for the others, shape (groups, outputs): one group for each earlier task
            if tasks do not compete with each other in training, else one group of all their outputs.
        """
        return self.of_task[:task] if self.train == "task" else self._seen(task - 1)[None]
