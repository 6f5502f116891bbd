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
        basis: the lower triangular C with C J Jᵀ Cᵀ = I, float64, shape (rows, rows): the rows of C J are an
            orthonormal basis of the span.
    """

    def __init__(self, rows: RowGradients, basis: Tensor) -> None:
        self.rows, self.basis = rows, basis

    def take_out(self, vector: Tensor) -> None:
        """Subtract Jᵀ Cᵀ C J v from a vector v of shape (P,)."""
        coordinates = self.basis @ self.rows.times(vector).double()
        self.rows.add_combined(-(self.basis.T @ coordinates).to(vector.dtype), vector)


def extended(span: RowSpan | None, new: RowGradients) -> RowSpan:
    """Return the span of this span's rows and new rows; linearly dependent rows are left out."""
    norms = new.norms()
    new = new.scaled(1 / norms.clamp(min=torch.finfo(norms.dtype).tiny))
    gram = new.products(new)
    inside = gram.new_empty(0, len(new)) if span is None else span.basis @ span.rows.products(new)
    chosen, root = _independent(gram - inside.T @ inside)
    own = torch.linalg.solve_triangular(root, torch.eye(len(root)).to(root), upper=False)
    added = new.chosen(chosen)
    if span is None:
        return RowSpan(added, own)
    old, both = len(span.basis), len(span.basis) + len(chosen)
    grown = own.new_zeros(both, both)
    grown[:old, :old], grown[old:, old:] = span.basis, own
    grown[old:, :old] = -own @ (inside[:, chosen].T @ span.basis)
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
