"""Which outputs of a model belong to which task, and which of them count."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gradinc.config.protocol import Visible
from gradinc.data.batch import Batch


@dataclass(frozen=True)
class Outputs:
    """Which outputs of the model belong to which task, and which of them count.

    The others are masked: their logits are taken for -∞.

    Attributes:
        of_task: 0 for the outputs of a task and -∞ for the others, shape (tasks, outputs).
        train, test: which outputs count in training and in testing.
    """

    of_task: Tensor
    train: Visible = "all"
    test: Visible = "all"

    def trained(self, batch: Batch, out: Tensor) -> Tensor:
        """The logits of a batch as the criterion sees them, shape (rows, outputs)."""
        if self.train == "all":
            return out
        if self.train == "seen":
            return out + self._seen(batch.task)
        return out + self.of_task[batch.task if batch.tasks is None else batch.tasks]

    def tested(self, out: Tensor, task: int, now: int) -> Tensor:
        """The logits of a task's test rows after the training on task `now`."""
        if self.test == "all":
            return out
        return out + (self._seen(now) if self.test == "seen" else self.of_task[task])

    def _seen(self, task: int) -> Tensor:
        return self.of_task[: task + 1].amax(0)

    def old(self, task: int) -> Tensor:
        """The outputs to hold on to while a task is trained on, in the groups that each have a softmax of their own.

        Returns:
            0 for the outputs of a group and -∞ for the others, shape (groups, outputs): one for each earlier task
            where tasks do not compete with each other in training, else one of all their outputs together.
        """
        return self.of_task[:task] if self.train == "task" else self._seen(task - 1)[None]
