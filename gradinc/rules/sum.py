r"""Σ gₖ.

$$ g = \sum_k g_k $$
"""

from __future__ import annotations

from torch import Tensor

from gradinc.core.rule import Rule


class Sum(Rule):
    """The sum over all rows of the window: the mean times their number

    Limits: The size of an update grows with the window, so the learning rate must be small.
    """

    def factor(self, items: float, planned: float) -> float:
        return 1.0

    def is_sum(self, items: float, planned: float) -> bool:
        return True

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        return True
