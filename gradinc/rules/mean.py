r"""Σ gₖ / Σ nₖ.

$$ g = \frac{\sum_k g_k}{\sum_k n_k} $$
"""

from __future__ import annotations

from torch import Tensor

from gradinc.core.rule import Rule


class Mean(Rule):
    """The mean over all rows of the window: equal to one large batch

    Limits: One corrupted micro-batch moves it as far as its size: see `median`, and `gradinc table safety`.

    The window is normalised once, by its actual number of rows, never by its number of
    micro-batches: ragged and short windows are then exact. Each backward pass is scaled by the
    planned number of rows, which saves a pass over the vector; only a window with another number of
    rows (cut short by the end of its task, or with replayed rows) is corrected.
    """

    def factor(self, items: float, planned: float) -> float:
        return 1 / planned

    def is_sum(self, items: float, planned: float) -> bool:
        return items == planned

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        if items != planned:
            grad.mul_(planned / items)
        return True
