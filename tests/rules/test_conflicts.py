"""PCGrad and UPGrad: gradients that conflict, and the theorems about what becomes of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learners import RAGGED, distance, gradient, members, micro_gradients, rule
from torchjd.aggregation import PCGrad, UPGrad
from torchjd.linalg import QuadprogProjector

CONFLICTS = (1, -0.4, 1, 1, -0.7)


def combined(name, rows, shares=None):
    """The rule on any matrix, without a model."""
    made = rule(name)
    made.draw = 0
    grad = torch.empty_like(rows[0])
    made.combine(rows.clone(), shares or [1 / len(rows)] * len(rows), grad)
    return grad


def random_rows(seed, count, width, rank=None, scale=1.0):
    draw = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, width, generator=draw, dtype=torch.float64)
    if rank is not None:
        rows = torch.randn(count, rank, generator=draw, dtype=torch.float64) @ rows[:rank]
    return rows * scale


def least_product(rows, d):
    """The least cosine between d and a row; 0 for a d that is nothing beside the rows."""
    if d.norm() < 1e-9 * rows.norm(dim=1).max():
        return 0.0
    return float((rows @ d / (rows.norm(dim=1) * d.norm()).clamp(min=1e-300)).min())


@given(
    seed=st.integers(0, 10**6),
    count=st.integers(1, 8),
    width=st.integers(1, 12),
    rank=st.none() | st.integers(1, 3),
    scale=st.sampled_from([1e-12, 1.0, 1e9]),
)
@settings(max_examples=200, deadline=None)
def test_upgrad_conflicts_with_no_micro_batch(seed, count, width, rank, scale):
    rows = random_rows(seed, count, width, rank if rank is None else min(rank, count), scale)
    assert least_product(rows, combined("upgrad", rows)) > -1e-7


def test_the_mean_does_conflict():
    assert sum(least_product(rows, rows.mean(0)) < -0.01 for rows in (random_rows(s, 5, 6) for s in range(100))) > 50


def test_pcgrad_of_two_conflicts_with_neither_and_of_more_it_may():
    for seed in range(200):
        rows = random_rows(seed, 2, 4)
        assert least_product(rows, combined("pcgrad", rows)) > -1e-12
    assert any(
        least_product(rows, combined("pcgrad", rows)) < -0.01 for rows in (random_rows(s, 5, 6) for s in range(99))
    )


@pytest.mark.parametrize("name", ["pcgrad", "upgrad"])
def test_without_conflicts_both_are_the_mean_bit_for_bit_in_the_weights(name):
    rows = random_rows(0, 5, 40).abs()
    shares = [0.1, 0.3, 0.2, 0.15, 0.25]
    assert distance(combined(name, rows, shares), torch.tensor(shares, dtype=torch.float64) @ rows) < 1e-14
    batches = members(RAGGED, scale=CONFLICTS)
    assert distance(gradient(rule(name), batches), gradient(rule("mean"), batches)) > 0.05


@pytest.mark.parametrize("name", ["pcgrad", "upgrad"])
@pytest.mark.parametrize(
    "rows",
    [
        [[1.0, 0, 0], [-1.0, 0, 0]],
        [[1.0, 0, 0], [1.0, 0, 0], [-2.0, 0, 0]],
        [[0.0, 0, 0], [1.0, 2, 3], [-1.0, 0, 0]],
        [[0.0, 0, 0], [0.0, 0, 0]],
        [[1.0, 1, 0], [1.0, 1, 0], [-1.0, 1e-9, 0], [-1.0, 0, 0]],
    ],
    ids=["opposite", "dependent", "zero", "all zero", "nearly dependent"],
)
def test_dependent_gradients_are_no_trouble(name, rows):
    rows = torch.tensor(rows, dtype=torch.float64)
    result = combined(name, rows)
    assert torch.isfinite(result).all()
    assert name == "pcgrad" or least_product(rows, result) > -1e-7


@pytest.mark.parametrize("seed", range(30))
def test_upgrad_equals_torchjd(seed):
    rows = random_rows(seed, 2 + seed % 7, 20)
    theirs = UPGrad(projector=QuadprogProjector(norm_eps=0, reg_eps=1e-13))(rows)
    assert distance(combined("upgrad", rows), theirs) < 1e-9


def test_upgrad_of_ragged_micro_batches_equals_torchjd_with_their_shares_as_preference():
    batches = members(RAGGED, scale=CONFLICTS)
    shares = torch.tensor(RAGGED, dtype=torch.float64) / sum(RAGGED)
    rows = micro_gradients(batches)
    theirs = UPGrad(pref_vector=shares, projector=QuadprogProjector(norm_eps=0, reg_eps=1e-13))(rows)
    assert distance(gradient(rule("upgrad"), batches), theirs) < 1e-9


def test_pcgrad_equals_torchjd_for_two_where_the_order_is_no_matter():
    """Its sum is two times our mean."""
    conflicts = 0
    for seed in range(20):
        rows = random_rows(seed, 2, 5)
        conflicts += bool(rows[0] @ rows[1] < 0)
        assert distance(2 * combined("pcgrad", rows), PCGrad()(rows)) < 1e-12
    assert conflicts > 5


def test_float32_gradients_are_projected_to_their_precision():
    for seed in range(20):
        rows = random_rows(seed, 6, 70000)
        rows[3] -= rows[0] + rows[1]  # conflicts, else such long vectors have none
        exact = combined("upgrad", rows)
        assert distance(combined("upgrad", rows.float()).double(), exact) < 1e-4
        assert least_product(rows, combined("upgrad", rows.float()).double()) > -1e-4
