r"""w ← (1 − λ) w + σ ε, with ε drawn like the initial weights.

$$ w \leftarrow (1 - \lambda)\, w + \sigma\, \varepsilon $$
"""

from __future__ import annotations

import torch

from gradinc.config.values import Fraction, NonNegative
from gradinc.core.initial import drawn_like
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.task import Task


class ShrinkPerturb(Method):
    """Shrink the weights and add noise after every update

    Paper: Ash & Adams 2020, arXiv 1910.08475, equation 2; after every update: Dohare et al. 2024, arXiv 2306.13812
    Title: On Warm-Starting Neural Network Training
    Authors: Jordan T. Ash, Ryan P. Adams
    Title: Maintaining Plasticity in Deep Continual Learning
    Authors: Shibhansh Dohare, J. Fernando Hernandez-Garcia, Parash Rahman, A. Rupam Mahmood, Richard S. Sutton
    Neutral: shrink=0, perturb=0
    Limits: Acts on all weights, useful or not: what helps to learn new tasks also erases old ones.

    ε is drawn from the initial weights of each layer, with replacement, so that it has the layer's initial
    distribution. Dohare et al. draw it from a normal distribution with one deviation for all layers.

    Args:
        shrink: λ, share of the weights that each update removes.
        perturb: σ, factor of the noise.
    """

    state = ("initial",)
    role = "resets"

    def __init__(self, *, shrink: Fraction = 1e-5, perturb: NonNegative = 1e-3) -> None:
        self.shrink, self.perturb = shrink, perturb
        self.initial = torch.empty(0)  # shape (P,)

    def begin(self, task: Task, learner: LearnerView) -> None:
        if not len(self.initial):
            self.initial = learner.weights.value.clone()

    def stepped(self, window: Window, learner: LearnerView) -> None:
        noise = drawn_like(self.initial, learner.weights, learner.update_rng("shrink_perturb"))
        learner.weights.value.mul_(1 - self.shrink).add_(noise, alpha=self.perturb)
