"""The projection onto the complement of rows' gradients, against an orthonormal basis of their span."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.core.row_gradients import Entries, Outer, RowGradients
from gradinc.core.row_span import RowSpan, extended


def gradients(count: int, seed: int) -> RowGradients:
    """Gradients of a linear layer, of one with two positions, and of a bias; much shorter ones in some rows."""
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(count, *shape, generator=random, dtype=torch.float64)

    lengths = torch.logspace(-4, 4, count, dtype=torch.float64)
    factors = [Outer(draw(1, 1, 6), draw(1, 1, 7), 42), Outer(draw(1, 2, 3), draw(1, 2, 4), 12), Entries(draw(5))]
    return RowGradients(factors).scaled(lengths)


def outside(span: RowSpan, vector: Tensor) -> Tensor:
    found = vector.clone()
    span.take_out(found)
    return found


def test_vectors_are_projected_as_by_an_orthonormal_basis() -> None:
    first, second = gradients(6, 0), gradients(5, 1)
    span = extended(extended(None, first), second)
    basis, _ = torch.linalg.qr(torch.cat((first.rows(), second.rows())).T)
    vector = torch.randn(59, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted = vector - basis @ (basis.T @ vector)
    torch.testing.assert_close(outside(span, vector), wanted, rtol=1e-10, atol=1e-12)
    found = span.basis @ span.rows.rows()
    torch.testing.assert_close(found @ found.T, torch.eye(11, dtype=torch.float64), rtol=0, atol=1e-10)
    assert float((outside(extended(None, second), vector) - wanted).norm()) > 0.1


def test_rows_that_depend_on_others_add_nothing() -> None:
    first = gradients(6, 0)
    span = extended(None, first)
    again = extended(span, first.scaled(torch.linspace(-2, 2, 6, dtype=torch.float64)))
    assert len(again.basis) == len(span.basis) == 6
    both = RowGradients([Entries(torch.cat((rows, rows[:3].sum(0, keepdim=True)))) for rows in [first.rows()]])
    assert len(extended(None, both).basis) == 6
    zeros = first.scaled(torch.zeros(6, dtype=torch.float64))
    assert len(extended(span, zeros).basis) == 6


def test_rows_are_kept_in_the_form_with_fewer_numbers() -> None:
    linear, positions, bias = gradients(4, 0).stored().factors
    assert [tensor[0].numel() for tensor in linear.tensors] == [6, 7]
    assert [tensor[0].numel() for tensor in positions.tensors] == [12]  # 2 · 3 + 2 · 4 numbers would be more
    assert [tensor[0].numel() for tensor in bias.tensors] == [5]
    torch.testing.assert_close(positions.rows(), gradients(4, 0).factors[1].rows())
