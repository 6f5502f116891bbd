r"""g₁ + λ (g₃ − g₂), with g₁ the gradient of SAM and g₂, g₃ gradients up the slope of ‖∇ℓ‖.

$$ g \leftarrow g_1 + \lambda\,(g_3 - g_2), \qquad g_1 = \nabla L\left(w + \rho\, \frac{g}{\lVert g\rVert}\right) $$
"""

from __future__ import annotations

from torch import Tensor

from gradinc.config.values import NonNegative
from gradinc.core.linalg import tiny
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.methods.sam import gradient_uphill


class CFlat(Method):
    """SAM with a penalty on the norm of the gradient: sharpness of both orders

    Paper: Bian et al. 2024, arXiv 2404.00986, algorithm 1
    Title: Make Continual Learning Stronger via C-Flat
    Authors: Ang Bian, Wei Li, Hangjie Yuan, others
    Neutral: rho=0
    Limits: Needs four passes over each window: compare at equal work, with `budget.passes`.

    With g₀ the window's gradient at w: g₁ is taken at w + ρ g₀ / ‖g₀‖, g₂ at v = w + ρ (g₁ − g₀) / ‖g₁ − g₀‖, and g₃
    at v + ρ g₂ / ‖g₂‖. That is four passes over the window instead of one. With λ = 0 the result is SAM's gradient.

    Args:
        rho: ρ, length of each step.
        strength: λ.
    """

    rereads = True
    role = "recomputes"

    def __init__(self, *, rho: NonNegative = 0.2, strength: NonNegative = 0.2) -> None:
        self.rho, self.strength = rho, strength

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        weights = learner.weights.value
        first = gradient_uphill(g, g.norm(), self.rho, learner)
        rise = first - g
        before = weights.clone()
        try:
            weights.addcdiv_(rise, rise.norm().clamp(min=tiny(g)), value=self.rho)
            second = learner.regradient()
            third = gradient_uphill(second, second.norm(), self.rho, learner)
        finally:
            weights.copy_(before)
        g.copy_(first.add_(third.sub_(second), alpha=self.strength))
