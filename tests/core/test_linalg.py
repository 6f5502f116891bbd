"""The small quadratic programs, against trying every set of entries that could be 0."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradinc.core.linalg import COLUMNS, dual_cone_weights, gramian, nonnegative_minimum


def brute_force(gram, linear):
    """The least value of ½ sᵀ G s − bᵀ s over s ≥ 0, from every choice of the entries that are not 0."""
    least = 0.0
    for chosen in itertools.product((False, True), repeat=len(linear)):
        free = np.array(chosen)
        s = np.zeros(len(linear))
        s[free] = np.linalg.pinv(gram[np.ix_(free, free)], rcond=1e-11, hermitian=True) @ linear[free]
        if (s >= -1e-12).all():
            least = min(least, objective(gram, linear, s.clip(0)))
    return least


def objective(gram, linear, s):
    """In more digits: with nearly dependent rows, the terms cancel down to a billionth of each."""
    gram, linear, s = (np.asarray(each, dtype=np.longdouble) for each in (gram, linear, s))
    return float(s @ gram @ s / 2 - linear @ s)


def problem(seed, count, rank, scale):
    draw = np.random.default_rng(seed)
    rows = draw.normal(size=(count, rank)) @ draw.normal(size=(rank, 8)) * scale
    if seed % 3 == 0:
        rows[0] = 0
    if seed % 5 == 0:
        rows[-1] = -rows[0]
    return rows @ rows.T, rows @ draw.normal(size=8) * scale


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 8), st.sampled_from([1e-10, 1.0, 1e6]))
@settings(max_examples=300, deadline=None)
def test_the_minimum_is_the_one_found_by_trying_everything(seed, count, rank, scale):
    gram, linear = problem(seed, count, rank, scale)
    s = nonnegative_minimum(gram, linear)
    assert (s >= 0).all()
    size = abs(brute_force(gram, linear))
    assert objective(gram, linear, s) == pytest.approx(brute_force(gram, linear), rel=1e-9, abs=1e-9 * size + 1e-300)


@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 8), st.sampled_from([1e-10, 1.0, 1e6]))
@settings(max_examples=200, deadline=None)
def test_the_conditions_of_a_minimum_hold(seed, count, rank, scale):
    gram, linear = problem(seed, count, rank, scale)
    s = nonnegative_minimum(gram, linear)
    slope = gram @ s - linear
    size = np.sqrt(np.diag(gram).max() + 1e-300) * np.abs(linear / np.sqrt(np.diag(gram) + 1e-300)).max()
    assert (slope >= -1e-8 * size).all()
    assert np.abs(slope * s).max() <= 1e-7 * max(abs(linear @ s), 1e-300)


def test_a_problem_with_nothing_to_gain_is_0():
    gram = np.eye(3)
    assert (nonnegative_minimum(gram, np.array([-1.0, 0, -2])) == 0).all()
    assert (nonnegative_minimum(gram, np.zeros(3)) == 0).all()
    assert (nonnegative_minimum(np.zeros((3, 3)), np.zeros(3)) == 0).all()


def test_weights_of_a_projection_are_at_least_those_projected():
    gram, _ = problem(1, 5, 4, 1.0)
    assert (np.linalg.eigvalsh(gram)[:1] < 1e-12).all()
    for u in np.eye(5):
        v = dual_cone_weights(gram, u)
        assert (v >= u).all()
        assert (gram @ v >= -1e-10).all()


@pytest.mark.parametrize("columns", [1, 100, COLUMNS, 2 * COLUMNS + 17])
def test_inner_products_are_right_across_blocks(columns):
    rows = torch.randn(4, columns, generator=torch.Generator().manual_seed(0))
    exact = (rows.double() @ rows.double().T).numpy()
    assert np.abs(gramian(rows) - exact).max() < 1e-5 * np.abs(exact).max()
