"""The span of rows' gradients: vectors are projected onto its complement without a stored basis of length P."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.core.row_gradients import RowGradients

TOLERANCE = 1e-5
"""Share of a gradient's length that must be outside the span of the others for it to count as another direction.

The coefficients of a vector in the span have its rounding errors divided by this share.
"""


class RowSpan:
    """The span of linearly independent gradients J, shape (rows, P).

    Args:
        rows: the gradients, each divided by its norm.
        root: the lower triangular L with L Lᵀ = J Jᵀ, float64, shape (rows, rows).
    """

    def __init__(self, rows: RowGradients, root: Tensor) -> None:
        self.rows, self.root = rows, root

    def take_out(self, vector: Tensor) -> None:
        """Subtract Jᵀ (J Jᵀ)⁻¹ J v from a vector v of shape (P,)."""
        products = self.rows.times(vector).double()
        solved = torch.cholesky_solve(products[:, None], self.root).squeeze(1)
        self.rows.add_combined(-solved.to(vector.dtype), vector)


def extended(span: RowSpan | None, new: RowGradients) -> RowSpan:
    """Return the span of this span's rows and new rows; linearly dependent rows are left out."""
    norms = new.norms()
    new = new.scaled(1 / norms.clamp(min=torch.finfo(norms.dtype).tiny))
    gram = new.products(new)
    if span is None:
        solved = gram.new_empty(0, len(new))
    else:
        solved = torch.linalg.solve_triangular(span.root, span.rows.products(new), upper=False)
    chosen, root = _independent(gram - solved.T @ solved)
    added = new.chosen(chosen)
    if span is None:
        return RowSpan(added, root)
    old, both = len(span.root), len(span.root) + len(chosen)
    grown = root.new_zeros(both, both)
    grown[:old, :old], grown[old:, :old], grown[old:, old:] = span.root, solved[:, chosen].T, root
    return RowSpan(span.rows.joined(added), grown)


def _independent(gram: Tensor) -> tuple[Tensor, Tensor]:
    """Return linearly independent rows, by Cholesky's factorisation with pivoting.

    Args:
        gram: products of the rows' parts that are outside the span so far, float64, shape (rows, rows).

    Returns:
        The rows' numbers, in the order in which they are chosen, and the lower triangular root of their products.
    """
    rest, columns, chosen = gram.diagonal().clone(), gram.new_zeros(gram.shape), []
    for place in range(len(gram)):
        row = int(rest.argmax())
        if rest[row] <= TOLERANCE**2:
            break
        column = (gram[:, row] - columns[:, :place] @ columns[row, :place]) / rest[row].sqrt()
        columns[:, place] = column
        rest -= column.square()
        rest[row] = 0
        chosen.append(row)
    order = torch.tensor(chosen, dtype=torch.int64, device=gram.device)
    return order, columns[order, : len(chosen)]
