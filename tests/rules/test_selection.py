"""The network of minima and maxima finds the ranks that a sort does."""

from __future__ import annotations

import itertools

import pytest
import torch

from gradinc.core.linalg import COLUMNS
from gradinc.rules.selection import mean_of_ranks, network


@pytest.mark.parametrize("size", range(1, 12))
def test_every_range_of_ranks_is_found_for_every_order_of_zeros_and_ones(size):
    """A network that is right on zeros and ones is right on everything; here on all 2ⁿ columns at once."""
    columns = torch.tensor(list(itertools.product((0.0, 1.0), repeat=size))).T.contiguous()
    ranked = columns.sort(dim=0).values
    for first, last in itertools.combinations_with_replacement(range(size), 2):
        out = torch.empty(columns.shape[1])
        mean_of_ranks(columns.clone(), first, last, out)
        assert torch.allclose(out, ranked[first : last + 1].mean(0), atol=1e-6), (first, last)


@pytest.mark.parametrize("size", [13, 16, 31, 64])
def test_the_middle_of_many_rows_is_that_of_a_sort_also_across_blocks(size):
    rows = torch.randn(size, COLUMNS + 100, generator=torch.Generator().manual_seed(0))
    ranked = rows.sort(dim=0).values
    first, last = (size - 1) // 2, size // 2
    out = torch.empty(rows.shape[1])
    mean_of_ranks(rows, first, last, out)
    assert torch.allclose(out, ranked[first : last + 1].mean(0), atol=1e-6)


def test_a_nan_in_a_column_is_not_lost():
    rows = torch.zeros(8, 5)
    rows[3, 2] = torch.nan
    out = torch.empty(5)
    mean_of_ranks(rows, 3, 4, out)
    assert out.isnan().tolist() == [False, False, True, False, False]


def test_the_median_of_eight_takes_26_row_operations_and_not_the_38_of_a_full_sort():
    assert sum(smaller + larger for _, _, smaller, larger in network(8, 3, 4)) == 26
    assert network(8, 0, 7) == (), "where all ranks count, their order does not matter"
