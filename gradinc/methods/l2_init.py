r"""g + λ (w − w₀), with w₀ the initial weights.

$$ g \leftarrow g + \lambda\, (w - w_0) $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Strength
from gradinc.core.method import Method
from gradinc.core.normalization import norm_weights
from gradinc.core.subspaces import hold
from gradinc.core.view import LearnerView
from gradinc.data.task import Task


class L2Init(Method):
    """L2 penalty around the initial weights, to keep the ability to learn

    Paper: Kumar et al. 2023, arXiv 2308.11958, equation 1
    Title: Maintaining Plasticity in Continual Learning via Regenerative Regularization
    Authors: Saurabh Kumar, Henrik Marklund, Benjamin Van Roy
    Neutral: strength=0
    Limits: Against the loss of plasticity, not against forgetting: on 60 permuted tasks it learns the last ones better
        than SGD and keeps as little. Too large a strength holds the weights at their start.

    The penalty is λ/2 ‖w − w₀‖², as in the authors' program; the paper's λ is half of this one. Weights of
    normalisations are not penalised, as in that program.

    Args:
        strength: λ.
    """

    state = ("initial", "still")

    def __init__(self, *, strength: Strength = 0.01) -> None:
        self.strength = strength
        self.initial = torch.empty(0)  # w₀, shape (P,)
        self.still: list[str] = []  # weights of normalisations

    def begin(self, task: Task, learner: LearnerView) -> None:
        if not len(self.initial):
            self.initial, self.still = learner.weights.value.clone(), norm_weights(learner)

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        force = learner.weights.value - self.initial
        hold(force, learner.weights, self.still)
        g.add_(force, alpha=self.strength)
        learner.note("penalty_gradient", self.strength * force.norm())
