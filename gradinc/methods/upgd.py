r"""(g + ε) ⊙ (1 − s), with s = σ(u / max u) and u the running mean of −g ⊙ w.

$$ g \leftarrow (g + \varepsilon) \odot (1 - s), \qquad s = \sigma\left(\frac{u}{\max u}\right) $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Decay, NonNegative
from gradinc.core.linalg import tiny
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.data.task import Task


class UPGD(Method):
    """Utility-based perturbed gradient descent: protect useful weights

    Paper: Elsayed & Mahmood 2024, arXiv 2404.00781, algorithm 1
    Title: Addressing Loss of Plasticity and Catastrophic Forgetting in Continual Learning
    Authors: Mohamed Elsayed, A. Rupam Mahmood
    Limits: The utility is of the loss of the current window: what past tasks need counts only as long as the running
        mean remembers it.

    The utility of a weight is the first-order rise of the loss if the weight became 0. The largest utility is of all
    layers together. Numerator and maximum have the same bias correction, which cancels; the authors' program corrects
    the numerator only, which scales u by 1 / (1 − βᵗ). The paper's weight decay is ``optimizer.weight_decay``, and its
    step is the optimizer's: plain SGD is the paper's.

    Args:
        beta: decay of the running mean.
        sigma: deviation of the noise ε of each entry of the gradient.
    """

    state = ("utility",)

    def __init__(self, *, beta: Decay = 0.999, sigma: NonNegative = 0.001) -> None:
        self.beta, self.sigma = beta, sigma
        self.utility = torch.empty(0)  # shape (P,)

    def begin(self, task: Task, learner: LearnerView) -> None:
        if not len(self.utility):
            self.utility = torch.zeros_like(learner.weights.value)

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        self.utility.mul_(self.beta).addcmul_(g, learner.weights.value, value=self.beta - 1)
        largest = self.utility.max()
        scaled = torch.sigmoid(self.utility / torch.where(largest == 0, tiny(g), largest))
        random = learner.update_rng("upgd")
        noise = torch.randn(g.shape, generator=random, device=g.device, dtype=g.dtype)
        g.add_(noise, alpha=self.sigma).mul_(1 - scaled)
        learner.note("protected", scaled.mean())
