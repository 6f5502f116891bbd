"""SI with the sign of its path reversed."""

from __future__ import annotations

from typing import Literal

from gradinc.config.values import Positive, Strength
from gradinc.core.view import LearnerView
from gradinc.data.task import Task
from gradinc.methods.si import SI


class SIReversed(SI):
    """A mistake: synaptic intelligence with ω = Σ g Δw"""

    def __init__(
        self,
        *,
        strength: Strength = 0.1,
        damping: Positive = 0.1,
        bound: Literal["task", "sum", "none"] = "task",
        path: Literal["loss", "applied"] = "loss",
    ) -> None:
        super().__init__(strength=strength, damping=damping, bound=bound, path=path)

    def end(self, task: Task, learner: LearnerView) -> None:
        self.path.neg_()
        super().end(task, learner)
