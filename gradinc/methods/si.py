r"""g + 2c Ω (w − w*), with Ω from the path ω = −Σ g Δw.

$$ g \leftarrow g + 2c\, \Omega \odot (w - w^*), \qquad \omega = -\sum g \odot \Delta w $$
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gradinc.config.values import Positive, Strength
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.task import Task


class SI(Method):
    """Synaptic intelligence: penalise changes of weights that lowered the loss

    Paper: Zenke et al. 2017, arXiv 1703.04200
    Title: Continual Learning Through Synaptic Intelligence
    Authors: Friedemann Zenke, Ben Poole, Surya Ganguli
    Limits: Needs no rows and no pass at the end of a task. In class-incremental streams it stays near fine-tuning;
        where all tasks share the outputs (permuted pixels) it keeps more.

    The path is integrated once per update, from the training gradient that reaches this method and the final step of
    the weights, after projections, masks and averages of other methods: a window of micro-batches is one point of the
    path, as the large batch is. At a task's end Ω grows by ω / ((w − w*)² + ξ); the penalty is c Σ Ω (w − w*)².

    Args:
        strength: c.
        damping: ξ, which bounds the importance of weights that hardly moved.
        bound: the quantity bounded below by 0: task, each task's addition to Ω, as in the program of Chaudhry et al.
            2019 (arXiv 1812.00420); sum, Ω after each task, as in the authors' program; none, no bound, as in the
            paper's equation and the program of Hsu et al. 2018 (arXiv 1810.12488).
        path: loss integrates the gradient that reaches this method, before the penalty; applied, the gradient that
            the optimizer receives, with the penalty and other methods' changes, as in DER's authors' program.
    """

    state = ("importance", "anchor", "path")
    needs_past = True

    def __init__(
        self,
        *,
        strength: Strength = 0.1,
        damping: Positive = 0.1,
        bound: Literal["task", "sum", "none"] = "task",
        path: Literal["loss", "applied"] = "loss",
    ) -> None:
        self.strength, self.damping, self.bound, self.along = strength, damping, bound, path
        self.importance: Tensor | None = None  # Ω, shape (P,)
        self.anchor = torch.empty(0)  # w*, the weights at the last task's end, shape (P,)
        self.path = torch.empty(0)  # ω, shape (P,)
        self._gradient: Tensor | None = None  # between a window's transform and its step
        self._before: Tensor | None = None

    def begin(self, task: Task, learner: LearnerView) -> None:
        self.anchor = learner.weights.value.clone()
        self.path = torch.zeros_like(self.anchor)

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        self._gradient = g.clone() if self.along == "loss" else g
        self._before = learner.weights.value.clone()
        if self.importance is not None:
            force = self.importance * (learner.weights.value - self.anchor)
            g.add_(force, alpha=2 * self.strength)
            learner.note("penalty_gradient", 2 * self.strength * force.norm())

    def stepped(self, window: Window, learner: LearnerView) -> None:
        assert self._gradient is not None and self._before is not None  # noqa: PT018
        self.path.addcmul_(self._gradient, self._before - learner.weights.value)
        self._gradient = self._before = None

    def end(self, task: Task, learner: LearnerView) -> None:
        moved = learner.weights.value - self.anchor
        path = self.path.clamp(min=0) if self.bound == "task" else self.path
        gained = path / (moved.square() + self.damping)
        total = gained if self.importance is None else self.importance + gained
        self.importance = total.clamp(min=0) if self.bound == "sum" else total
