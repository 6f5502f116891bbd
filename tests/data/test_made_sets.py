"""The sets that a program makes, and what is done to rows before they are served."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gradinc.base.errors import UserError
from gradinc.data.dataset import load_dataset, open_source
from gradinc.data.rows import TensorRows
from gradinc.data.source import TEST, TRAIN, VALIDATION

Section = Callable[..., object]


@pytest.mark.parametrize("shuffled", [False, True])
def test_mnist1d_is_what_the_package_makes_by_default(shuffled: bool) -> None:
    from mnist1d.data import get_dataset_args, make_dataset

    args = get_dataset_args()
    args.shuffle_seq = shuffled
    wanted = make_dataset(args)
    random.seed(7)
    np.random.seed(7)
    before = (random.getstate(), np.random.get_state()[1].tolist())
    source = open_source("mnist1d", None, {"shuffled": shuffled})
    assert (random.getstate(), np.random.get_state()[1].tolist()) == before, "drew from the shared generators"
    assert np.array_equal(source.x[source.part == TRAIN], wanted["x"].astype(np.float32))
    assert np.array_equal(source.x[source.part == TEST], wanted["x_test"].astype(np.float32))
    assert np.array_equal(source.y[source.part == TRAIN], wanted["y"])
    assert source.x.shape == (5000, 40)


def test_mnist1d_makes_other_signals_to_validate_on() -> None:
    plain, more = (open_source("mnist1d", None, {"validation_rows": rows, "shuffled": True}) for rows in (0, 55))
    assert np.array_equal(plain.x, more.x[more.part != VALIDATION]), "the published parts are as they were"
    extra = more.x[more.part == VALIDATION]
    assert len(extra) == 55
    assert not any((row == plain.x).all(1).any() for row in extra)


def test_modular_has_every_pair_and_its_product() -> None:
    source = open_source("modular", None, {"modulus": 97, "operation": "multiply"})
    assert source.x.shape == (97 * 96, 4)
    for row, result in zip(source.x[::977], source.y[::977], strict=True):
        x, operation, y, equals = row.astype(int)
        assert (operation, equals) == (98, 97)
        assert result == x * y % 97
    assert len({tuple(row) for row in source.x}) == 97 * 96
    assert len(source.classes or ()) == 97


@pytest.mark.parametrize("name", ["mnist1d", "modular"])
def test_what_is_made_is_read_from_no_folder(name: str) -> None:
    with pytest.raises(UserError, match=f"{name} is computed, not read from a file. Leave it out"):
        open_source(name, "/somewhere", {})


def test_padding_puts_black_around_images(section: Section) -> None:
    plain = load_dataset(section("digits", normalize="unit"), "cpu", torch.float64)  # type: ignore[arg-type]
    wide = load_dataset(section("digits", normalize="unit", pad=3), "cpu", torch.float64)  # type: ignore[arg-type]
    assert wide.shape == (1, 14, 14)
    assert isinstance(plain.train, TensorRows)
    assert isinstance(wide.train, TensorRows)
    assert torch.equal(wide.train.x[..., 3:-3, 3:-3], plain.train.x)
    assert wide.train.x.sum() == plain.train.x.sum()
    with pytest.raises(UserError, match=r"data.pad=3: data=diabetes has no images"):
        load_dataset(section("diabetes", pad=3), "cpu", torch.float64)  # type: ignore[arg-type]


def test_constants_normalise_as_they_are_given(section: Section) -> None:
    unit = load_dataset(section("digits", normalize="unit"), "cpu", torch.float64)  # type: ignore[arg-type]
    given = load_dataset(section("digits", normalize=(0.25, 0.5)), "cpu", torch.float64)  # type: ignore[arg-type]
    assert isinstance(unit.train, TensorRows)
    assert isinstance(given.train, TensorRows)
    torch.testing.assert_close(given.train.x, (unit.train.x - 0.25) / 0.5)
    assert given.mean == (0.25,)
