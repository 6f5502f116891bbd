"""Mean over classes of the share of their rows that are right."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.core.metric import Metric


class BalancedAccuracy(Metric):
    """Balanced accuracy, or macro recall: the mean accuracy of the classes

    Paper: Brodersen et al. 2010, The balanced accuracy and its posterior distribution
    """

    def sums(self, out: Tensor, y: Tensor) -> Tensor:
        right = y[out.argmax(1) == y]
        return torch.cat([torch.bincount(labels, minlength=out.shape[1]) for labels in (right, y)])

    def value(self, sums: list[float], rows: int) -> float:
        half = len(sums) // 2
        shares = [right / count for right, count in zip(sums[:half], sums[half:], strict=True) if count]
        return sum(shares) / len(shares)
