"""A running Fisher information, and importances made comparable: what EWC++ and RWalk have in common."""

from __future__ import annotations

import torch
from torch import Tensor


def squares_with(squares: Tensor | None, g: Tensor) -> Tensor:
    """Σ g² with one more gradient, shape (P,)."""
    return g.square() if squares is None else squares.addcmul_(g, g)


def fisher_with(fisher: Tensor | None, squares: Tensor, count: int, alpha: float) -> Tensor:
    """The moving average of squared gradients with the mean of some more, shape (P,).

    Paper: Chaudhry et al. 2018, arXiv 1801.10112, equation 7

    Args:
        fisher: the average so far, changed in place; None at first.
        squares: Σ g² over `count` updates, changed in place.
        alpha: share of the newest.
    """
    mean = squares.div_(count)
    return mean if fisher is None else fisher.lerp_(mean, alpha)


def to_unit(values: Tensor) -> Tensor:
    """Values moved and scaled so that the smallest is 0 and the largest 1; where all are equal, all are 0."""
    low, high = values.aminmax()
    return (values - low) / (high - low).clamp(min=torch.finfo(values.dtype).tiny)
