"""Small dense linear algebra: K gradients are combined by their K×K inner products."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[np.float64]

COLUMNS = 1 << 16
"""Columns of a matrix of gradients that are processed together: a few rows of them fit into a core's cache."""


def tiny(like: Tensor) -> float:
    """Return the least positive number of a tensor's dtype, to divide by instead of a norm of 0."""
    return torch.finfo(like.dtype).tiny


def gramian(rows: Tensor) -> Array:
    """Return the inner products of rows with each other.

    The products of a block of columns are summed in the rows' own precision, the blocks in float64.

    Args:
        rows: shape (K, P), on any device.

    Returns:
        Shape (K, K), on the CPU.
    """
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for block in rows.split(COLUMNS, dim=1):
        total += block @ block.T
    return total.cpu().numpy()


def nonnegative_minimum(gram: Array, linear: Array, tolerance: float = 1e-13) -> Array:
    """The s ≥ 0 that minimises ½ sᵀ G s − bᵀ s, by the active set method of Lawson and Hanson.

    G may be singular if b is in its range. The minimiser is then not unique, but G s is.

    Args:
        gram: G, shape (K, K), symmetric and positive semidefinite.
        linear: b, shape (K,).
        tolerance: bound, relative to the largest entry of b, below which a number counts as 0; and the condition
            number below which rows count as dependent. Errors in `gram` should be smaller.

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
    """Solve `nonnegative_minimum` for a G with ones on its diagonal and a b with entries up to 1."""
    size = len(b)
    s = np.zeros(size)
    free = np.zeros(size, dtype=bool)  # entries that are not fixed at 0
    barred = np.zeros(size, dtype=bool)

    def solve() -> Array:
        trial = np.zeros(size)
        trial[free] = np.linalg.lstsq(gram[np.ix_(free, free)], b[free], rcond=tolerance)[0]
        return trial

    for _ in range(10 * size):  # each pass lowers the objective or excludes an entry; a few are enough
        slope = np.where(free | barred, -np.inf, b - gram @ s)
        best = int(slope.argmax())
        if slope[best] <= tolerance:
            break
        free[best] = True
        trial = solve()
        if trial[best] <= 0:  # it grows only by rounding
            free[best], barred[best] = False, True
            continue
        while (negative := free & (trial <= 0)).any():
            # Move towards the solution up to the first entry that reaches 0, and fix this entry at 0.
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


def leading_directions(moment: Tensor, threshold: float, basis: Tensor | None = None) -> Tensor:
    """Return the main directions of vectors that a basis does not contain yet: the rank rules of GPM.

    Without a basis, the result contains the largest directions whose cumulative share of Σ ‖x‖² is *below* the
    threshold. With a basis, it contains as many of the largest remaining directions as are needed to *reach* the
    threshold together with the basis.

    Paper: Saha et al. 2021, arXiv 2103.09762, equations 5 and 9, and its published program for the first rule

    Args:
        moment: Σ x xᵀ over the vectors, shape (n, n), float64.
        threshold: share of Σ ‖x‖².
        basis: orthonormal columns, shape (n, r), float64.

    Returns:
        Orthonormal columns, shape (n, k), orthogonal to the basis, with k ≤ n − r.
    """
    total = moment.trace()
    size, rank = len(moment), 0
    if basis is not None:
        rank = basis.shape[1]
        moment = moment - basis @ (basis.T @ moment)
        moment = moment - (moment @ basis) @ basis.T
    values, vectors = torch.linalg.eigh(moment)
    values, vectors = values.flip(0).clamp(min=0), vectors.flip(1)
    shares = values / total.clamp(min=tiny(total))
    reached = shares.cumsum(0)
    if basis is not None:
        reached += 1 - values.sum() / total.clamp(min=tiny(total)) - shares
    something = int((values > size * torch.finfo(values.dtype).eps * total).sum())
    chosen = vectors[:, : min(int((reached < threshold).sum()), size - rank, something)]
    return chosen if basis is None else torch.linalg.qr(chosen - basis @ (basis.T @ chosen))[0]


def small_directions(moment: Tensor, ratio: float) -> Tensor:
    """Return the directions with the smallest second moments: eigenvectors of the smallest eigenvalues.

    Paper: Wang et al. 2021, arXiv 2103.07113, section 4.3

    Args:
        moment: Σ x xᵀ over the vectors, shape (n, n), float64.
        ratio: largest eigenvalue, as a multiple of the smallest. An eigenvalue that is 0 except for rounding counts as
            0.

    Returns:
        Orthonormal columns, shape (n, k), with k ≥ 1.
    """
    values, vectors = torch.linalg.eigh(moment)
    nothing = len(moment) * torch.finfo(moment.dtype).eps * values[-1]
    return vectors[:, values <= torch.maximum(ratio * values[0], nothing)]


def with_more_rows(inverse: Tensor, rows: Tensor, alpha: float) -> Tensor:
    """Return (P⁻¹ + Xᵀ X / α)⁻¹ from P: recursive least squares with all rows of X at once.

    Paper: Zeng et al. 2019, arXiv 1810.01256, equation 3; for several rows Woodbury's identity

    Args:
        inverse: P, shape (n, n), symmetric.
        rows: X, shape (K, n).
        alpha: α, positive.

    Returns:
        Shape (n, n).
    """
    if len(rows) > rows.shape[1]:  # fewer rows with the same Xᵀ X
        values, vectors = torch.linalg.eigh(rows.T @ rows)
        rows = (vectors * values.clamp(min=0).sqrt()).T
    gain = inverse @ rows.T  # shape (n, K)
    inner = rows @ gain
    inner.diagonal().add_(alpha)
    inverse = inverse - gain @ torch.cholesky_solve(gain.T, torch.linalg.cholesky(inner))
    return (inverse + inverse.T) / 2
