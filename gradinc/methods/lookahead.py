r"""Slow weights φ ← φ + α (θ − φ) after every k updates of the fast weights θ.

$$ \phi \leftarrow \phi + \alpha\,(\theta - \phi), \quad \theta \leftarrow \phi \qquad \text{after every } k \text{
updates} $$
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from gradinc.config.values import Count, Fraction
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.task import Task


class Lookahead(Method):
    """Slow weights that follow the trained ones every k updates

    Paper: Zhang et al. 2019, arXiv 1907.08610
    Title: Lookahead Optimizer: k steps forward, 1 step back
    Authors: Michael R. Zhang, James Lucas, Geoffrey Hinton, Jimmy Ba
    Neutral: alpha=1

    The optimizer's state continues over a step of the slow weights. The slow weights are measured and saved as the
    best. A task ends with a step of the slow weights, after any number of updates since the last step, so the slow
    weights are the result of the task.

    Args:
        k: updates of the fast weights in one step of the slow weights.
        alpha: share of the way to the fast weights that the slow weights move.
    """

    state: ClassVar[tuple[str, ...]] = ("slow", "t")
    role = "averages"

    def __init__(self, *, k: Count = 5, alpha: Fraction = 0.5) -> None:
        self.k, self.alpha = k, alpha
        self.slow = torch.empty(0)
        self.t = 0

    def begin(self, task: Task, learner: LearnerView) -> None:
        self.slow = learner.weights.value.clone()
        self.t = 0

    def standing(self, learner: LearnerView, task: int | None = None) -> Tensor | None:
        return self.slow if len(self.slow) else None

    def stepped(self, window: Window, learner: LearnerView) -> None:
        self.t += 1
        if self.t % self.k == 0:
            self.follow(learner.weights.value)

    def end(self, task: Task, learner: LearnerView) -> None:
        if self.t % self.k:
            self.follow(learner.weights.value)

    def follow(self, fast: Tensor) -> None:
        """Move the slow weights towards the weights in training, and these to the result, both in place."""
        fast.copy_(self.slow.lerp_(fast, self.alpha))
