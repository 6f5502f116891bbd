r"""g + 2λ (F + s) (w − w*), with F a running Fisher and s a path over the KL-divergence.

$$ g \leftarrow g + 2\lambda\, (F + s) \odot (w - w^*) $$
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gradinc.config.values import Count, NonNegative, Positive, Strength
from gradinc.core.importance import fisher_with, squares_with, to_unit
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.task import Task


class RWalk(Method):
    """Riemannian walk: penalise changes by Fisher information and path

    Paper: Chaudhry et al. 2018, arXiv 1801.10112
    Title: Riemannian Walk for Incremental Learning: Understanding Forgetting and Intransigence
    Authors: Arslan Chaudhry, Puneet K. Dokania, Thalaiyasingam Ajanthan, Philip H. S. Torr
    Limits: As EWC and SI: the strength has to be searched, and nothing compares old classes with new ones.

    F is a moving average of squared gradients over updates (EWC++, equation 7), s the decrease of the loss along a
    weight's path per step of KL-divergence (equation 8), computed every few updates. Both use the gradients of
    training. At a task's end s is averaged with s of the earlier tasks, and both are shifted and scaled to values
    between 0 and 1, as the authors' program does. That program leaves out the factor 1/2 of the divergence, so that its
    ξ is twice this eps; the scale of s does not matter.

    Args:
        strength: λ.
        alpha: share of the newest squares in F; 0.9 in the program of Chaudhry et al. 2019 (arXiv 1812.00420).
        every: updates between two points of the path.
        eps: added to the denominator of s.
        fisher_every: updates whose squares are averaged before they enter F; 10 in the same program.
        past: factor of s of the earlier tasks when half of a task's own s is added: 0.5 in the paper, 1.5 in the same
            program, which adds the average to s; the paper replaces s by the average.
        squares: the updates whose squares enter F: updates, the last fisher_every; task, all of the task so far. Their
            sum is divided by fisher_every. The same program never clears its sum within a task.
    """

    state = ("fisher", "squares", "score", "past", "held", "gained", "point", "anchor", "updates")
    needs_past = True

    def __init__(
        self,
        *,
        strength: Strength = 1.0,
        alpha: Positive = 0.1,
        every: Count = 10,
        eps: Positive = 1e-3,
        fisher_every: Count = 1,
        past: NonNegative = 0.5,
        squares: Literal["updates", "task"] = "updates",
    ) -> None:
        self.strength, self.alpha, self.every, self.eps = strength, alpha, every, eps
        self.fisher_every, self.share, self.over = fisher_every, past, squares
        self.fisher: Tensor | None = None  # F, shape (P,), as all others
        self.squares: Tensor | None = None  # Σ g² since the last change of F, or since the task began
        self.score = torch.empty(0)  # s since the task began
        self.held: Tensor | None = None  # F + s at the last task's end
        self.gained = torch.empty(0)  # −Σ g Δw since the last point of the path
        self.point = torch.empty(0)  # the weights at this point
        self.past: Tensor | None = None  # s of the earlier tasks
        self.anchor = torch.empty(0)  # w*
        self.updates = 0
        self._gradient: Tensor | None = None  # between a window's transform and its step
        self._before: Tensor | None = None

    def begin(self, task: Task, learner: LearnerView) -> None:
        weights = learner.weights.value
        self.score, self.gained, self.point = torch.zeros_like(weights), torch.zeros_like(weights), weights.clone()
        self.squares, self.anchor, self.updates = None, weights.clone(), 0

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        self.squares = squares_with(self.squares, g)
        self.updates += 1
        if self.updates % self.fisher_every == 0:
            self.fisher = fisher_with(self.fisher, self.squares / self.fisher_every, self.alpha)
            if self.over == "updates":
                self.squares = None
        self._gradient, self._before = g.clone(), learner.weights.value.clone()
        if self.held is not None:
            force = self.held * (learner.weights.value - self.anchor)
            g.add_(force, alpha=2 * self.strength)
            learner.note("penalty_gradient", 2 * self.strength * force.norm())

    def stepped(self, window: Window, learner: LearnerView) -> None:
        weights = learner.weights.value
        assert self._gradient is not None and self._before is not None  # noqa: PT018
        self.gained.addcmul_(self._gradient, self._before - weights)
        self._gradient = self._before = None
        if self.updates % self.every == 0:
            fisher = 0.0 if self.fisher is None else self.fisher
            divergence = (weights - self.point).square_().mul_(fisher).div_(2)
            self.score += self.gained.clamp(min=0) / (divergence + self.eps)
            self.gained.zero_()
            self.point.copy_(weights)

    def end(self, task: Task, learner: LearnerView) -> None:
        if self.squares is not None and self.updates < self.fisher_every:
            self.fisher = fisher_with(self.fisher, self.squares / self.updates, self.alpha)
        assert self.fisher is not None
        self.past = self.score if self.past is None else self.share * self.past + self.score / 2
        self.held = to_unit(self.fisher) + to_unit(self.past)
