"""How much the gradients of a window's micro-batches differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def trace_and_signal(squares: Sequence[tuple[Tensor, float]], square: Tensor) -> tuple[Tensor, Tensor]:
    """Unbiased estimates of tr(Σ), the variance of one row's gradient, and ‖G‖², the square of the true one's norm.

    A mean gradient over n rows has E‖gₖ‖² = ‖G‖² + tr(Σ)/n. Over a window of K micro-batches with N rows,
    Σ nₖ‖gₖ‖² therefore has expectation N‖G‖² + K tr(Σ), and the window's own ‖g‖² ‖G‖² + tr(Σ)/N.

    Paper: McCandlish et al. 2018, arXiv 1812.06162, appendix A.1, here for micro-batches of any sizes.

    Args:
        squares: ‖gₖ‖² and nₖ of each micro-batch, two or more.
        square: ‖g‖² of their mean over all rows.

    Returns:
        tr(Σ) and ‖G‖², scalars; either may come out negative. The noise scale is their ratio, taken of means.
    """
    rows = sum(items for _, items in squares)
    weighted = torch.stack([norm * items for norm, items in squares]).sum()
    trace = (weighted - rows * square) / (len(squares) - 1)
    return trace, square - trace / rows
