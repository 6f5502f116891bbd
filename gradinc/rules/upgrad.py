r"""Each gradient projected so that it harms no other, and their mean.

$$ g = \frac{\sum_k n_k\, \pi(\bar g_k)}{\sum_k n_k}, \qquad \pi(\bar g_k) = \mathrm{arg\,min}_{v:\; v \cdot \bar g_i
\ge 0\; \forall i} \lVert v - \bar g_k\rVert $$
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gradinc.core.linalg import dual_cone_weights, gramian
from gradinc.core.row_rule import RowRule


class UPGrad(RowRule):
    """The mean of the gradients, each projected to conflict with no other

    Paper: Quinton & Rey 2024, arXiv 2406.16232
    Title: Jacobian Descent for Multi-Objective Optimization
    Authors: Pierre Quinton, Valerian Rey
    Neutral: size=1
    Limits: Needs K vectors of memory and a quadratic program for each window.

    Each gradient is projected onto the vectors without a negative product with any of them, so that a
    small enough step raises the loss of no micro-batch. Without conflicts the rule is the mean.
    """

    def combine(self, rows: Tensor, shares: Sequence[float], grad: Tensor) -> None:
        gram = gramian(rows)
        tolerance = 100 * torch.finfo(rows.dtype).eps
        projected = [dual_cone_weights(gram, share, tolerance) for share in np.diag(shares)]
        weights = torch.as_tensor(np.sum(projected, axis=0), dtype=rows.dtype, device=rows.device)
        torch.mv(rows.T, weights, out=grad)
