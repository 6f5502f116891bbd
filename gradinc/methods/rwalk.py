"""g + 2λ (F + s) (w − w*), with F a running Fisher and s a path over the KL-divergence."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Count, NonNegative, Positive
from gradinc.data.stream import Task
from gradinc.learner import Learner
from gradinc.method import Method
from gradinc.window import Window


class RWalk(Method):
    """Riemannian walk: hold weights by their Fisher information and path

    Paper: Chaudhry et al. 2018, arXiv 1801.10112

    F is a moving average of squared gradients over updates (EWC++, equation 7), s the loss that a weight's path has
    gained per step of KL-divergence (equation 8), taken every few updates. At a task's end s is averaged with that
    of the tasks before, and both are divided by their largest entry, as the paper does in practice.

    Args:
        strength: λ.
        alpha: share of the newest squared gradient in F.
        every: updates between two points of the path.
        eps: added to the denominator of s.
    """

    state = ("fisher", "score", "past", "held", "gained", "point", "anchor", "updates")

    def __init__(
        self, *, strength: NonNegative = 1.0, alpha: Positive = 0.1, every: Count = 10, eps: Positive = 1e-3
    ) -> None:
        self.strength, self.alpha, self.every, self.eps = strength, alpha, every, eps
        self.fisher: Tensor | None = None  # F, shape (P,); the others too
        self.score = torch.empty(0)  # s since the task began
        self.held: Tensor | None = None  # F + s as they were at the last task's end
        self.gained = torch.empty(0)  # −Σ g Δw since the last point of the path
        self.point = torch.empty(0)  # the weights there
        self.past: Tensor | None = None  # s of the tasks before
        self.anchor = torch.empty(0)  # w*
        self.updates = 0
        self._gradient: Tensor | None = None  # between a window's transform and its step
        self._before: Tensor | None = None

    def begin(self, task: Task, learner: Learner) -> None:
        weights = learner.weights.value
        self.score, self.gained, self.point = torch.zeros_like(weights), torch.zeros_like(weights), weights.clone()
        self.anchor, self.updates = weights.clone(), 0

    def transform(self, g: Tensor, learner: Learner) -> None:
        self.fisher = g.square() if self.fisher is None else self.fisher.lerp_(g.square(), self.alpha)
        self._gradient, self._before = g.clone(), learner.weights.value.clone()
        if self.held is not None:
            force = self.held * (learner.weights.value - self.anchor)
            g.add_(force, alpha=2 * self.strength)
            learner.note("penalty_gradient", 2 * self.strength * force.norm())

    def stepped(self, window: Window, learner: Learner) -> None:
        assert self.fisher is not None
        weights = learner.weights.value
        assert self._gradient is not None and self._before is not None  # noqa: PT018
        self.gained.addcmul_(self._gradient, self._before - weights)
        self._gradient = self._before = None
        self.updates += 1
        if self.updates % self.every == 0:
            divergence = (weights - self.point).square_().mul_(self.fisher).div_(2)
            self.score += self.gained.clamp(min=0) / (divergence + self.eps)
            self.gained.zero_()
            self.point.copy_(weights)

    def end(self, task: Task, learner: Learner) -> None:
        assert self.fisher is not None
        self.past = self.score if self.past is None else (self.past + self.score) / 2
        self.held = _scaled(self.fisher) + _scaled(self.past)


def _scaled(values: Tensor) -> Tensor:
    """Divided by the largest entry."""
    return values / values.max().clamp(min=torch.finfo(values.dtype).tiny)
