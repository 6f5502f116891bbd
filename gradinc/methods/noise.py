r"""g + N(0, η / (1 + t)^γ).

$$ g \leftarrow g + \mathcal{N}\left(0,\; \frac{\eta}{(1 + t)^\gamma}\right) $$
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gradinc.config.values import NonNegative
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.data.task import Task


class Noise(Method):
    """Add Gaussian noise to the gradient, with a falling variance

    Paper: Neelakantan et al. 2015, arXiv 1511.06807
    Title: Adding Gradient Noise Improves Learning for Very Deep Networks
    Authors: Arvind Neelakantan, Luke Vilnis, Quoc V. Le, Ilya Sutskever, Lukasz Kaiser, Karol Kurach, James Martens
    Neutral: eta=0

    Args:
        eta: variance of each entry's noise in the first update.
        gamma: exponent of the decay: the variance is eta / (1 + t)^gamma after t updates.
    """

    state = ("t", "seed")
    role = "layerwise"

    def __init__(self, *, eta: NonNegative = 0.01, gamma: NonNegative = 0.55) -> None:
        self.eta, self.gamma = eta, gamma
        self.t = 0
        self.seed = 0

    def begin(self, task: Task, learner: LearnerView) -> None:
        # The learner's generators depend on the micro-batch. This noise depends on the update: else it would
        # depend on the number of micro-batches of the window.
        random = learner.rng("noise")
        self.seed = int(torch.randint(2**62, (), generator=random, device=random.device))

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        deviation = math.sqrt(self.eta / (1 + self.t) ** self.gamma)
        random = learner.rng("noise").manual_seed(self.seed + self.t)
        g.add_(torch.randn(g.shape, generator=random, device=g.device, dtype=g.dtype), alpha=deviation)
        self.t += 1
