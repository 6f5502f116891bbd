r"""The median of each coordinate.

$$ g_j = \mathrm{median}_k\; \bar g_{k,j} \quad \text{for each weight } j $$
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradinc.core.linalg import COLUMNS
from gradinc.core.row_rule import RowRule
from gradinc.rules.selection import mean_of_ranks


class Median(RowRule):
    """The median of the micro-batches, weight by weight: robust to outliers

    Paper: Yin et al. 2018, arXiv 1803.01498
    Title: Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates
    Authors: Dong Yin, Yudong Chen, Kannan Ramchandran, Peter Bartlett
    Neutral: size=1
    Limits: Needs a window of three or more, and K vectors of memory. It withstands corrupted micro-batches if most are
        good (`gradinc table safety`); in a short last window one of two is no outlier.

    The median of an even number is the mean of the two in the middle. Ragged micro-batches are weighted
    by their rows: half of the rows' weight is on either side.
    """

    def combine(self, rows: Tensor, shares: Sequence[float], grad: Tensor) -> None:
        count = len(shares)
        if min(shares) == max(shares):
            mean_of_ranks(rows, (count - 1) // 2, count // 2, grad)
            return
        weights = torch.tensor(shares, dtype=torch.float64).to(rows.device, non_blocking=True)
        for block, target in zip(rows.split(COLUMNS, dim=1), grad.split(COLUMNS), strict=True):
            values, order = block.sort(dim=0)
            below = weights[order].cumsum(0)
            # The first entry that reaches half of the weight and the first that exceeds it are the same, unless
            # the halves separate between two entries.
            reaches = (below < 0.5 - _ROUNDING).sum(0, keepdim=True)
            exceeds = (below <= 0.5 + _ROUNDING).sum(0, keepdim=True).clamp_(max=count - 1)
            torch.lerp(values.gather(0, reaches), values.gather(0, exceeds), 0.5, out=target.unsqueeze(0))


_ROUNDING = 1e-12
"""Tolerance of shares that add up to one half, if the weight separates into equal halves."""
