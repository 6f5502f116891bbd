r"""The mean of each coordinate without its extremes.

$$ g_j = \text{the mean of } \bar g_{k,j} \text{ without the smallest and the largest values} \quad \text{for each
weight } j $$
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import Ge, Lt
from torch import Tensor

from gradinc.core.linalg import COLUMNS
from gradinc.core.row_rule import RowRule
from gradinc.rules.selection import mean_of_ranks


class Trimmed(RowRule):
    """The mean of the micro-batches without the extremes, weight by weight

    Paper: Yin et al. 2018, arXiv 1803.01498
    Title: Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates
    Authors: Dong Yin, Yudong Chen, Kannan Ramchandran, Peter Bartlett
    Neutral: trim=0
    Limits: Needs a window of three or more. It withstands as many corrupted micro-batches as it leaves out at either
        end.

    Of K micro-batches the ⌈trim · K⌉ lowest and as many highest are left out, fewer if none would
    remain: a window of two has no extremes. The remaining micro-batches are weighted by their rows. With
    trim 0 the rule is the mean.

    Args:
        trim: share of the micro-batches that is left out at either end.
    """

    def __init__(self, *, trim: Annotated[float, Ge(0), Lt(0.5)] = 0.25) -> None:
        self.trim = trim

    def combine(self, rows: Tensor, shares: Sequence[float], grad: Tensor) -> None:
        count = len(shares)
        cut = min(math.ceil(self.trim * count - 1e-9), (count - 1) // 2)
        weights = torch.tensor(shares, dtype=rows.dtype).to(rows.device, non_blocking=True)
        if cut == 0:
            torch.mv(rows.T, weights, out=grad)
        elif min(shares) == max(shares):
            mean_of_ranks(rows, cut, count - 1 - cut, grad)
        else:
            for block, target in zip(rows.split(COLUMNS, dim=1), grad.split(COLUMNS), strict=True):
                values, order = block.sort(dim=0)
                kept, kept_weights = values[cut : count - cut], weights[order[cut : count - cut]]
                torch.div((kept * kept_weights).sum(0), kept_weights.sum(0), out=target)
