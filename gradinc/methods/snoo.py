r"""Slow weights φ ← φ − η (μ b + s) with b ← μ b + s and s = φ − θ, after every k updates of the fast weights θ.

$$ b \leftarrow \mu\, b + s, \quad \phi \leftarrow \phi - \eta\,(\mu\, b + s), \qquad s = \phi - \theta \text{ after
every } k \text{ updates} $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Count, Decay, Positive
from gradinc.core.view import LearnerView
from gradinc.data.task import Task
from gradinc.methods.lookahead import Lookahead


class Snoo(Lookahead):
    """Nesterov's momentum for the slow weights of Lookahead

    Paper: Kallusky et al. 2025, arXiv 2510.15830, algorithm 1
    Title: SNOO: Step-K Nesterov Outer Optimizer - The Surprising Effectiveness of Nesterov Momentum Applied to Pseudo-
        Gradients
    Authors: Dominik Kallusky, Vinay Rao, Vishal Nandavanam, Hao-Jun Michael Shi

    Without momentum it is Lookahead with α = η, and then with η = 1 plain training. The optimizer's state continues
    over a step of the slow weights. As in ``lookahead``, the slow weights are measured, and a task ends with a step of
    the slow weights. The momentum starts again with each task.

    Args:
        k: updates of the fast weights in one step of the slow weights.
        lr: η, learning rate of the slow weights.
        momentum: μ, share of b that each step of the slow weights keeps.
    """

    state = ("slow", "velocity", "t")

    def __init__(self, *, k: Count = 20, lr: Positive = 0.7, momentum: Decay = 0.5) -> None:
        super().__init__(k=k)
        self.lr, self.momentum = lr, momentum
        self.velocity = torch.empty(0)  # b

    def begin(self, task: Task, learner: LearnerView) -> None:
        super().begin(task, learner)
        self.velocity = torch.zeros_like(self.slow)

    def follow(self, fast: Tensor) -> None:
        moved = self.slow - fast
        self.velocity.mul_(self.momentum).add_(moved)
        fast.copy_(self.slow.lerp_(fast, self.lr).add_(self.velocity, alpha=-self.lr * self.momentum))
