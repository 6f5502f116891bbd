r"""Gradient surgery: each gradient without its components against the others.

$$ \bar g_i \leftarrow \bar g_i - \frac{\min(\bar g_i \cdot \bar g_j,\, 0)}{\lVert \bar g_j\rVert^2}\, \bar g_j \quad
\text{for } j \ne i \text{ in random order} $$
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from gradinc.core.linalg import gramian
from gradinc.core.row_rule import RowRule
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class PCGrad(RowRule):
    """Gradient surgery: conflicting micro-batches are projected off each other

    Paper: Yu et al. 2020, arXiv 2001.06782
    Title: Gradient Surgery for Multi-Task Learning
    Authors: Tianhe Yu, Saurabh Kumar, Abhishek Gupta, Sergey Levine, Karol Hausman, Chelsea Finn
    Neutral: size=1
    Limits: Needs K vectors of memory and compares all pairs.

    Each gradient is compared with the others in random order, and loses its component along gradients with
    a negative product. With two micro-batches the result conflicts with neither; with more, it may. The paper
    adds the gradients up; this rule is their mean, so that without conflicts it is the window's mean.
    """

    state = (*RowRule.state, "draw")

    def __init__(self) -> None:
        self.draw: int | None = None

    def add(self, g: Tensor, batch: Batch, learner: LearnerView) -> None:
        RowRule.add(self, g, batch, learner)
        if self.draw is None:  # a window that is reread uses the first order again
            generator = learner.rng("pcgrad")
            self.draw = int(torch.randint(2**62, (), generator=generator, device=generator.device))

    def combine(self, rows: Tensor, shares: Sequence[float], grad: Tensor) -> None:
        gram = gramian(rows)
        random = np.random.default_rng(self.draw)
        total = np.zeros(len(shares))
        for i, share in enumerate(shares):
            weights = np.zeros(len(shares))  # the gradient being projected, as a combination of all
            weights[i] = 1.0
            for j in random.permutation(len(shares)):
                product = gram[j] @ weights
                if j != i and product < 0:
                    weights[j] -= product / gram[j, j]
            total += share * weights
        torch.mv(rows.T, torch.as_tensor(total, dtype=rows.dtype, device=rows.device), out=grad)
        self.draw = None
