"""The running Fisher information and comparable importances, shared by EWC++ and RWalk."""

from __future__ import annotations

import torch
from torch import Tensor


def squares_with(squares: Tensor | None, g: Tensor) -> Tensor:
    """Return Σ g² after one more gradient is added, shape (P,)."""
    return g.square() if squares is None else squares.addcmul_(g, g)


def fisher_with(fisher: Tensor | None, mean: Tensor, alpha: float) -> Tensor:
    """Return the moving average of squared gradients, updated with the mean of some more, shape (P,).

    Paper: Chaudhry et al. 2018, arXiv 1801.10112, equation 7

    Args:
        fisher: the average so far, changed in place; None at first.
        mean: mean of the new squares, shape (P,).
        alpha: share of `mean`.
    """
    return mean if fisher is None else fisher.lerp_(mean, alpha)


def to_unit(values: Tensor) -> Tensor:
    """Shift and scale values so that the smallest is 0 and the largest 1; if all are equal, all become 0."""
    low, high = values.aminmax()
    return (values - low) / (high - low).clamp(min=torch.finfo(values.dtype).tiny)
