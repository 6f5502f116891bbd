"""Estimates of how much the gradients of a window's micro-batches differ."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def trace_and_signal(
    squares: Sequence[tuple[Tensor, float]], square: Tensor, rows: float | None = None
) -> tuple[Tensor, Tensor]:
    """Return unbiased estimates of tr(Σ), the variance of one row's gradient, and ‖G‖², with G the true gradient.

    A mean gradient over n rows has E‖gₖ‖² = ‖G‖² + tr(Σ)/n. Over M micro-batches with m rows in all, Σ nₖ‖gₖ‖²
    therefore has expectation m‖G‖² + M tr(Σ). For their window of N rows, ‖g‖² has expectation ‖G‖² + tr(Σ)/N.

    Paper: McCandlish et al. 2018, arXiv 1812.06162, appendix A.1, here for micro-batches of any sizes.

    Args:
        squares: ‖gₖ‖² and nₖ of some or all micro-batches.
        square: ‖g‖² of the window's mean over all rows.
        rows: N, if the window has more micro-batches than these; the window has two micro-batches or more.

    Returns:
        tr(Σ) and ‖G‖², scalars; either may be negative. The noise scale is the ratio of their means.
    """
    some = sum(items for _, items in squares)
    every = some if rows is None else rows
    weighted = torch.stack([norm * items for norm, items in squares]).sum()
    trace = (weighted - some * square) / (len(squares) - some / every)
    return trace, square - trace / every


def ratios(notes: dict[str, float]) -> dict[str, float]:
    """Return the means of a log line, with the noise scale and the signal-to-noise ratio as ratios of means."""
    if "gradient_norm" in notes:
        notes.setdefault("kept_norm", 1.0)
    names = ("noise_trace", "noise_signal", "noise_of_mean")
    if all(name in notes for name in names):
        trace, signal, noise = (notes.pop(name) for name in names)
        notes["noise_scale"] = trace / signal if signal > 0 else float("inf")
        notes["signal_to_noise"] = signal / noise if noise > 0 else float("inf")
    return notes
