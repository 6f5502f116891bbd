"""Share of rows whose class is among the five largest outputs."""

from __future__ import annotations

from torch import Tensor

from gradinc.core.metric import Metric


class Top5(Metric):
    """Top-5 accuracy: the class is among the five largest outputs"""

    def sums(self, out: Tensor, y: Tensor) -> Tensor:
        best = out.topk(min(5, out.shape[1]), dim=1).indices
        return (best == y.view(-1, 1)).any(1).sum().view(1)
