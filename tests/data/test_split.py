"""Splits are seeded, disjoint and stratified, and official parts are left alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradinc.base.errors import UserError
from gradinc.data.source import TEST, TRAIN, VALIDATION
from gradinc.data.split import split_rows, stratified

LABELS = np.arange(1000) % 10

labels = st.lists(st.integers(0, 4), min_size=2, max_size=60).map(np.array)
fractions = st.floats(0, 1)


@settings(max_examples=200, deadline=None)
@given(labels, fractions, st.integers(0, 2**32))
def test_every_group_gives_its_share_to_one_row_and_keeps_one(y: np.ndarray, fraction: float, seed: int) -> None:
    drawn = stratified(y, fraction, seed)
    assert len(set(drawn.tolist())) == len(drawn)
    for group in np.unique(y):
        size, taken = int((y == group).sum()), int((y[drawn] == group).sum())
        assert taken < size
        assert abs(taken - min(fraction * size, size - 1)) <= 1


@settings(max_examples=100, deadline=None)
@given(labels, st.floats(0, 0.5), st.integers(0, 2**32))
def test_as_many_rows_are_drawn_as_asked_for_where_groups_are_large_enough(
    y: np.ndarray, fraction: float, seed: int
) -> None:
    y = np.concatenate([y, np.arange(5), np.arange(5)])  # every group has 2 rows or more
    assert abs(len(stratified(y, fraction, seed)) - fraction * len(y)) <= 0.5 + 1e-6


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    first = split_rows(LABELS, True, None, 0.1, 0.2, seed=0)
    assert np.array_equal(first, split_rows(LABELS, True, None, 0.1, 0.2, seed=0))
    assert not np.array_equal(first, split_rows(LABELS, True, None, 0.1, 0.2, seed=1))


def test_a_split_is_the_same_on_every_machine_and_in_every_version() -> None:
    part = split_rows(np.arange(20) % 2, True, None, 0.25, 0.2, seed=0)
    assert "".join(map(str, part)) == "01100012002022010000"


def test_parts_have_the_fractions_asked_for_in_every_class() -> None:
    part = split_rows(LABELS, True, None, 0.1, 0.2, seed=3)
    for label in range(10):
        mine = part[label == LABELS]
        assert ((mine == TEST).sum(), (mine == VALIDATION).sum(), (mine == TRAIN).sum()) == (20, 8, 72)


def test_the_test_part_does_not_depend_on_the_validation_fraction() -> None:
    tests = [split_rows(LABELS, True, None, validation, 0.2, 0) == TEST for validation in (0.0, 0.1, 0.5)]
    assert np.array_equal(tests[0], tests[1])
    assert np.array_equal(tests[0], tests[2])


def test_official_test_rows_are_used_as_they_are() -> None:
    official = np.where(np.arange(1000) < 900, TRAIN, TEST).astype(np.int8)
    part = split_rows(LABELS, True, official, 0.1, 0.9, seed=0)
    assert np.array_equal(part == TEST, official == TEST)
    assert (part[:900] == VALIDATION).sum() == 90


def test_official_validation_rows_are_used_as_they_are() -> None:
    official = np.array([TRAIN] * 800 + [VALIDATION] * 100 + [TEST] * 100, np.int8)
    assert np.array_equal(split_rows(LABELS, True, official, 0.5, 0.5, seed=0), official)


def test_regression_rows_are_drawn_from_all() -> None:
    part = split_rows(np.random.default_rng(0).normal(size=(442, 1)), False, None, 0.1, 0.2, seed=0)
    assert [(part == number).sum() for number in (TRAIN, VALIDATION, TEST)] == [319, 35, 88]


def test_no_validation_fraction_gives_no_validation_rows() -> None:
    assert not (split_rows(LABELS, True, None, 0.0, 0.2, 0) == VALIDATION).any()


@pytest.mark.parametrize(
    ("rows", "validation", "test", "message"),
    [
        (10, 0.1, 0.0, "data.test=0: none of the 10 rows would be for testing"),
        (10, 0.1, 0.01, "data.test=0.01: none of the 10 rows would be for testing"),
        (1, 0.0, 0.2, "data.test=0.2: none of the 1 rows would be for testing"),
        (10, 0.0, 1.0, "data.test=1: takes all 10 rows and leaves none to train on"),
        (10, 0.99, 0.2, "data.validation=0.99: takes all 8 rows and leaves none to train on"),
    ],
)
def test_a_part_that_would_be_empty_is_refused(rows: int, validation: float, test: float, message: str) -> None:
    with pytest.raises(UserError) as caught:
        split_rows(np.zeros(rows, np.int64), True, None, validation, test, 0)
    assert str(caught.value).startswith(message)


def test_a_set_without_training_rows_is_refused() -> None:
    with pytest.raises(UserError, match="no training rows"):
        split_rows(np.zeros(5, np.int64), True, np.full(5, TEST, np.int8), 0.1, 0.2, 0)
