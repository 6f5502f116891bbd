"""GEM that protects only the task before."""

from __future__ import annotations

from gradinc.config.values import Count, NonNegative
from gradinc.core.view import LearnerView
from gradinc.data.task import Task
from gradinc.methods.gem import GEM


class GEMLast(GEM):
    """A mistake: gradient episodic memory with the examples of the last task only"""

    def __init__(self, *, memory: Count = 256, margin: NonNegative = 0.5, ridge: NonNegative = 0.0) -> None:
        super().__init__(memory=memory, margin=margin, ridge=ridge)

    def end(self, task: Task, learner: LearnerView) -> None:
        super().end(task, learner)
        self.memory = self.memory[-1:]
