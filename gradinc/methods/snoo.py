r"""Slow weights φ ← φ − η (μ b + s) with b ← μ b + s and s = φ − θ, after every k updates of the fast weights θ.

$$ b \leftarrow \mu\, b + s, \quad \phi \leftarrow \phi - \eta\,(\mu\, b + s), \qquad s = \phi - \theta \text{ after
every } k \text{ updates} $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Count, Decay, Positive
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.task import Task


class Snoo(Method):
    """Nesterov's momentum for the slow weights of Lookahead

    Paper: Kallusky et al. 2025, arXiv 2510.15830, algorithm 1

    Without momentum it is Lookahead with α = η, and then with η = 1 plain training. The optimizer's state continues
    over a step of the slow weights. As in ``lookahead``, the slow weights are measured, and a task ends with a step of
    the slow weights. The momentum starts again with each task.

    Args:
        k: updates of the fast weights in one step of the slow weights.
        lr: η, learning rate of the slow weights.
        momentum: μ, share of b that each step of the slow weights keeps.
    """

    state = ("slow", "velocity", "t")
    role = "averages"

    def __init__(self, *, k: Count = 20, lr: Positive = 0.7, momentum: Decay = 0.5) -> None:
        self.k, self.lr, self.momentum = k, lr, momentum
        self.slow = torch.empty(0)  # φ
        self.velocity = torch.empty(0)  # b
        self.t = 0

    def begin(self, task: Task, learner: LearnerView) -> None:
        self.slow = learner.weights.value.clone()
        self.velocity = torch.zeros_like(self.slow)
        self.t = 0

    def standing(self, learner: LearnerView, task: int | None = None) -> Tensor | None:
        return self.slow if len(self.slow) else None

    def stepped(self, window: Window, learner: LearnerView) -> None:
        self.t += 1
        if self.t % self.k == 0:
            self._follow(learner.weights.value)

    def end(self, task: Task, learner: LearnerView) -> None:
        if self.t % self.k:
            self._follow(learner.weights.value)

    def _follow(self, fast: Tensor) -> None:
        moved = self.slow - fast
        self.velocity.mul_(self.momentum).add_(moved)
        fast.copy_(self.slow.lerp_(fast, self.lr).add_(self.velocity, alpha=-self.lr * self.momentum))
