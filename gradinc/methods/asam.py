"""The gradient at w + ρ T² g / ‖T g‖ with T = |w| + η."""

from __future__ import annotations

from torch import Tensor

from gradinc.config.values import NonNegative
from gradinc.learner import Learner
from gradinc.method import Method
from gradinc.methods.sam import gradient_uphill


class ASAM(Method):
    """SAM whose step up is measured relative to each weight's size

    Paper: Kwon et al. 2021, arXiv 2102.11600
    Neutral: rho=0

    T is the paper's elementwise operator, over all weights, biases included.

    Args:
        rho: length of the step up, relative to the weights.
        eta: added to every weight's size, so that weights near zero move too.
    """

    rereads = True
    recomputes = True

    def __init__(self, *, rho: NonNegative = 0.5, eta: NonNegative = 0.01) -> None:
        self.rho, self.eta = rho, eta

    def transform(self, g: Tensor, learner: Learner) -> None:
        size = learner.weights.value.abs().add_(self.eta)
        scaled = size * g
        g.copy_(gradient_uphill(size.mul_(scaled), scaled.norm(), self.rho, learner))
