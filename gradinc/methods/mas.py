"""g + 2λ Ω (w − w*), with Ω the mean of |∂‖f(x)‖² / ∂w|."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.batch import Batch
from gradinc.config.values import Count, NonNegative
from gradinc.data.stream import Task
from gradinc.learner import Learner
from gradinc.method import Method


class MAS(Method):
    """Memory aware synapses: hold weights that the outputs depend on

    Paper: Aljundi et al. 2018, arXiv 1711.09601

    Importance needs no labels: it is the mean over rows of how much each weight changes the squared norm of the
    outputs, row by row. That of all tasks adds up. The penalty is λ Σ Ω (w − w*)².

    Args:
        strength: λ.
        rows: training rows of a task that importance is taken from, at random; null takes all.
    """

    state = ("importance", "anchor")

    def __init__(self, *, strength: NonNegative = 0.1, rows: Count | None = 1024) -> None:
        self.strength, self.rows = strength, rows
        self.importance: Tensor | None = None  # Ω, shape (P,)
        self.anchor = torch.empty(0)  # w*, shape (P,)

    def transform(self, g: Tensor, learner: Learner) -> None:
        if self.importance is not None:
            force = self.importance * (learner.weights.value - self.anchor)
            g.add_(force, alpha=2 * self.strength)
            learner.note("penalty_gradient", 2 * self.strength * force.norm())

    def end(self, task: Task, learner: Learner) -> None:
        total, rows = torch.zeros_like(learner.weights.value), 0.0
        for batch in task.batches(32, rows=self.rows, random=learner.rng("importance")):
            total += learner.gradient(batch, _squared_norm, each=True).abs_().sum(0)
            rows += batch.items
        new = total.div_(rows)
        self.importance = new if self.importance is None else self.importance + new
        self.anchor = learner.weights.value.clone()


def _squared_norm(batch: Batch, out: Tensor) -> Tensor:
    return out.square().sum(1)
