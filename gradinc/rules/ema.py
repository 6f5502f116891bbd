r"""Σ βᴷ⁻ᵏ gₖ / Σ βᴷ⁻ᵏ nₖ.

$$ g = \frac{\sum_k \beta^{K-k} g_k}{\sum_k \beta^{K-k} n_k} $$
"""

from __future__ import annotations

from torch import Tensor

from gradinc.config.values import Fraction
from gradinc.core.rule import SeparateRule
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class EMA(SeparateRule):
    """A moving average over the window: later micro-batches count more

    Neutral: beta=1
    Limits: The order of the micro-batches counts, so it is not the gradient of the large batch.

    The average is debiased, so that its weights add up to 1, and it restarts in every window. The order of the
    micro-batches matters only for this rule and `agreement`. With beta 1 the rule is the mean, with beta 0 the last
    micro-batch alone.

    Args:
        beta: factor of a micro-batch's weight for each micro-batch after it.
    """

    state = ("mean", "weight")

    def __init__(self, *, beta: Fraction = 0.9) -> None:
        self.beta = beta
        self.mean: Tensor | None = None
        self.weight = 0.0

    def open(self, like: Tensor, size: int) -> None:
        self.mean, self.weight = None, 0.0

    def add(self, g: Tensor, batch: Batch, learner: LearnerView) -> None:
        self.weight = self.beta * self.weight + batch.items
        if self.mean is None:
            self.mean = g.clone()
        else:
            self.mean.lerp_(g, batch.items / self.weight)

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        assert self.mean is not None
        grad.copy_(self.mean)
        self.mean = None
        return True
