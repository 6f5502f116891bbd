r"""The gradient at w + ρ T² g / ‖T g‖ with T = |w| + η.

$$ g \leftarrow \nabla L\left(w + \rho\, \frac{T^2 g}{\lVert T g\rVert}\right), \qquad T = |w| + \eta $$
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from gradinc.config.values import NonNegative
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.methods.sam import gradient_uphill


class ASAM(Method):
    """SAM with a step uphill that is relative to each weight's size

    Paper: Kwon et al. 2021, arXiv 2102.11600
    Title: ASAM: Adaptive Sharpness-Aware Minimization for Scale-Invariant Learning of Deep Neural Networks
    Authors: Jungmin Kwon, Jeongseop Kim, Hyunseo Park, In Kwon Choi
    Neutral: rho=0
    Limits: Needs a second pass over each window: compare at equal work, with `budget.passes`.

    T is the paper's elementwise operator, over all weights including biases. In the authors' program T = 1 for
    parameters without "weight" in their name, the biases; `scales` chooses between the two.

    Args:
        rho: length of the step up, relative to the weights.
        eta: added to every weight's size, so that weights near zero move too.
        scales: parameters for T: all, or only those with "weight" in their name, as in the authors' program.
    """

    rereads = True
    role = "recomputes"

    def __init__(
        self, *, rho: NonNegative = 0.5, eta: NonNegative = 0.01, scales: Literal["all", "weights"] = "all"
    ) -> None:
        self.rho, self.eta, self.scales = rho, eta, scales
        self._others: Tensor | None = None  # entries with T = 1, shape (P,); they follow from the model, so no state

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        size = learner.weights.value.abs().add_(self.eta)
        if self.scales == "weights":
            if self._others is None:
                self._others = _not_called_weight(learner)
            size.masked_fill_(self._others, 1.0)
        scaled = size * g
        g.copy_(gradient_uphill(size.mul_(scaled), scaled.norm(), self.rho, learner))


def _not_called_weight(learner: LearnerView) -> Tensor:
    """Return the entries of parameters without "weight" in their name, bool, shape (P,)."""
    weights = learner.weights
    others = torch.zeros_like(weights.value, dtype=torch.bool)
    for name, view in zip(weights.names, weights.views(others), strict=True):
        view.fill_("weight" not in name)
    return others
