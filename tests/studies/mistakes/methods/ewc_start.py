"""oEWC whose penalty pulls to the weights of the first task."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from gradinc.config.values import Count, Fraction, Strength
from gradinc.core.view import LearnerView
from gradinc.data.task import Task
from gradinc.methods.ewc import EWC


class EWCStart(EWC):
    """A mistake: online EWC around the weights after the first task"""

    state = (*EWC.state, "start")

    def __init__(
        self,
        *,
        strength: Strength = 1.0,
        gamma: Fraction = 1.0,
        fisher: Literal["empirical", "weighted"] = "empirical",
        rows: Count | None = 1024,
    ) -> None:
        super().__init__(strength=strength, mode="online", gamma=gamma, fisher=fisher, rows=rows)
        self.start: Tensor | None = None

    def end(self, task: Task, learner: LearnerView) -> None:
        super().end(task, learner)
        if self.start is None:
            self.start = learner.weights.value.clone()
        self.pull = self.fisher * self.start
