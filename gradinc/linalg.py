"""Small dense linear algebra: what becomes of K gradients is decided by their K×K inner products."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[np.float64]

COLUMNS = 1 << 16
"""Columns of a matrix of gradients that are worked on together: a few rows of them fit into a core's cache."""


def tiny(like: Tensor) -> float:
    """The least positive number of a tensor's dtype: in place of a norm of 0 that something is divided by."""
    return torch.finfo(like.dtype).tiny


def gramian(rows: Tensor) -> Array:
    """The inner products of rows with each other.

    The products of a block of columns are summed in the rows' own precision, the blocks in float64.

    Args:
        rows: shape (K, P), on any device.

    Returns:
        Shape (K, K), in memory.
    """
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for block in rows.split(COLUMNS, dim=1):
        total += block @ block.T
    return total.cpu().numpy()


def nonnegative_minimum(gram: Array, linear: Array, tolerance: float = 1e-13) -> Array:
    """The s ≥ 0 that minimises ½ sᵀ G s − bᵀ s, by the active set method of Lawson and Hanson.

    G may be singular, as long as b lies in its range. The minimum is then one of many, all with the
    same G s.

    Args:
        gram: G, shape (K, K), symmetric and positive semidefinite.
        linear: b, shape (K,).
        tolerance: what counts as nothing, relative to the largest entry of b; and the condition below
            which rows are taken to depend on each other. Errors in `gram` should be smaller.

    Returns:
        s, shape (K,).
    """
    lengths = np.sqrt(np.diag(gram))
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    b = scale * linear
    largest = np.abs(b).max(initial=0.0)
    if largest == 0:
        return np.zeros_like(linear)
    unit = _active_set(gram * np.outer(scale, scale), b / largest, tolerance)
    return unit * scale * largest


def _active_set(gram: Array, b: Array, tolerance: float) -> Array:
    """As `nonnegative_minimum`, for a G with ones on its diagonal and a b of entries up to 1."""
    size = len(b)
    s = np.zeros(size)
    free = np.zeros(size, dtype=bool)  # entries that are not held at 0
    barred = np.zeros(size, dtype=bool)

    def solve() -> Array:
        trial = np.zeros(size)
        trial[free] = np.linalg.lstsq(gram[np.ix_(free, free)], b[free], rcond=tolerance)[0]
        return trial

    for _ in range(10 * size):  # each turn lowers the objective or bars an entry; a few are enough
        slope = np.where(free | barred, -np.inf, b - gram @ s)
        best = int(slope.argmax())
        if slope[best] <= tolerance:
            break
        free[best] = True
        trial = solve()
        if trial[best] <= 0:  # only rounding says that it should grow
            free[best], barred[best] = False, True
            continue
        while (negative := free & (trial <= 0)).any():
            # Go towards the solution as far as the first entry that reaches 0, and hold that one there.
            drop = s - trial
            steps = np.where(negative, np.divide(s, drop, out=np.zeros(size), where=drop > 0), np.inf)
            free &= ~(negative & (steps == steps.min()))
            s = np.where(free, np.maximum(s + steps.min() * (trial - s), 0), 0)
            trial = solve()
        s = trial
        barred[:] = False
    return s


def dual_cone_weights(gram: Array, weights: Array, tolerance: float = 1e-13) -> Array:
    """Project a combination of rows onto the vectors that have no negative product with any row.

    For a matrix J with J Jᵀ = G, the projection of Jᵀu onto {x : J x ≥ 0} is Jᵀv with the v ≥ u
    that minimises vᵀ G v.

    Paper: Quinton & Rey 2024, arXiv 2406.16232, proposition 1

    Args:
        gram: G, shape (K, K).
        weights: u, shape (K,).
        tolerance: as in `nonnegative_minimum`.

    Returns:
        v, shape (K,).
    """
    return weights + nonnegative_minimum(gram, -gram @ weights, tolerance)
