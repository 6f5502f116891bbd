r"""The mean of the micro-batches' own sharpness-aware gradients.

$$ g = \frac{1}{\sum_k n_k} \sum_k n_k\, \nabla L_k\left(w + \rho\, \frac{\bar g_k}{\lVert \bar g_k\rVert}\right) $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import NonNegative
from gradinc.core.rule import SeparateRule
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class MSAM(SeparateRule):
    """SAM in each micro-batch: its gradient after a step of rho uphill

    Paper: Behdin et al. 2023, arXiv 2302.09693
    Title: mSAM: Micro-Batch-Averaged Sharpness-Aware Minimization
    Authors: Kayhan Behdin, Qingquan Song, Aman Gupta, Sathiya Keerthi, Ayan Acharya, Borja Ocejo, Gregory Dexter, Rajiv
        Khanna, David Durfee, Rahul Mazumder
    Neutral: rho=0
    Limits: Needs a second pass over each micro-batch: compare at equal work, with `budget.passes`.

    The mean of ∇Lₖ(w + ρ ∇Lₖ(w) / ‖∇Lₖ(w)‖) over the micro-batches k, with the dropout masks of the first
    pass. Each micro-batch takes two forward and backward passes; the method `sam` takes one step uphill for the whole
    window. With rho 0 the rule is the mean.

    Args:
        rho: length of the step uphill, a norm over all weights.
    """

    state = ("mean", "weight")

    def __init__(self, *, rho: NonNegative = 0.05) -> None:
        self.rho = rho
        self.mean: Tensor | None = None
        self.weight = 0.0

    def open(self, like: Tensor, size: int) -> None:
        self.mean, self.weight = None, 0.0

    def add(self, g: Tensor, batch: Batch, learner: LearnerView) -> None:
        value = learner.weights.value
        here = value.clone()
        tiny = torch.finfo(g.dtype).tiny  # a gradient of 0 has no direction
        try:
            value.addcdiv_(g, g.norm().clamp_(min=tiny), value=self.rho)
            sharp = learner.part(batch, 1 / batch.items)
        finally:
            value.copy_(here)  # subtracting would leave rounding errors
        self.weight += batch.items
        if self.mean is None:
            self.mean = sharp
        else:
            self.mean.lerp_(sharp, batch.items / self.weight)

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        assert self.mean is not None
        grad.copy_(self.mean)
        self.mean = None
        return True
