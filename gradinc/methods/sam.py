r"""The gradient at w + ρ g / ‖g‖.

$$ g \leftarrow \nabla L\left(w + \rho\, \frac{g}{\lVert g\rVert}\right) $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import NonNegative
from gradinc.core.method import Method
from gradinc.core.view import LearnerView


class SAM(Method):
    """Sharpness-aware minimisation: the gradient after a step of rho uphill

    Paper: Foret et al. 2021, arXiv 2010.01412
    Title: Sharpness-Aware Minimization for Efficiently Improving Generalization
    Authors: Pierre Foret, Ariel Kleiner, Hossein Mobahi, Behnam Neyshabur
    Neutral: rho=0
    Limits: Needs a second pass over each window: compare at equal work, with `budget.passes`.

    One step uphill is made for the whole window, so that a window equals the large batch; the rule
    `strategy.window.rule=msam` instead makes a step for each micro-batch. The second pass uses the same rows and
    dropout masks and does not change BatchNorm's statistics.

    Args:
        rho: length of the step up.
    """

    rereads = True
    role = "recomputes"

    def __init__(self, *, rho: NonNegative = 0.05) -> None:
        self.rho = rho

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        g.copy_(gradient_uphill(g, g.norm(), self.rho, learner))


def gradient_uphill(direction: Tensor, norm: Tensor, rho: float, learner: LearnerView) -> Tensor:
    """Return the gradient of the window's objective at w + ρ direction / norm, shape (P,).

    Adding and subtracting the step would change last bits, so the weights are restored from a copy, also
    if the pass fails. A direction of zeros makes no step.
    """
    weights = learner.weights.value
    before = weights.clone()
    try:
        weights.addcdiv_(direction, norm.clamp(min=torch.finfo(norm.dtype).tiny), value=rho)
        return learner.regradient()
    finally:
        weights.copy_(before)
