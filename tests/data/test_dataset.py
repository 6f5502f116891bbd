"""A loaded data set: normalised by its training rows, its test rows kept apart, and known by a digest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradinc.base.errors import UserError
from gradinc.config.schema import DataSection
from gradinc.data.dataset import Dataset, load_dataset, open_source, prepare_dataset
from gradinc.data.rows import TensorRows

Section = Callable[..., DataSection]
RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (60, 3, 4, 5), np.uint8)
LABELS = np.arange(60) % 4
FEATURES = RANDOM.normal([1.0, -50.0], [3.0, 0.5], (60, 2)).astype(np.float32)


def rows(data: Dataset, part: str = "train") -> TensorRows:
    found = getattr(data, part)
    assert isinstance(found, TensorRows)
    return found


@pytest.fixture
def npz(section: Section, tmp_path: Path) -> Callable[..., Dataset]:
    """Loads arrays with the settings given."""

    def make(x: np.ndarray, y: np.ndarray, dtype: torch.dtype = torch.float32, **values: Any) -> Dataset:
        np.savez(tmp_path / "data.npz", x=x, y=y)
        return load_dataset(section("npz", root=str(tmp_path / "data.npz"), **values), "cpu", dtype)

    return make


@pytest.mark.parametrize("x", [IMAGES, FEATURES], ids=["images", "features"])
def test_training_rows_have_mean_0_and_deviation_1_and_test_rows_have_not(
    npz: Callable[..., Dataset], x: np.ndarray
) -> None:
    data = npz(x, LABELS, torch.float64)
    over = [axis for axis in range(x.ndim) if axis != 1]
    train, test = rows(data).x, rows(data, "test").x
    assert train.mean(over).abs().max() < 1e-12
    assert (train.std(over, correction=0) - 1).abs().max() < 1e-12
    assert test.mean(over).abs().min() > 1e-3


def test_what_was_subtracted_and_divided_by_is_recorded_in_input_units(npz: Callable[..., Dataset]) -> None:
    normalised = npz(IMAGES, LABELS, torch.float64)
    unit = npz(IMAGES, LABELS, torch.float64, normalize="unit")
    raw = npz(IMAGES, LABELS, torch.float64, normalize="none")
    assert rows(unit).x.max() == 1
    assert torch.equal(rows(raw).x, rows(raw).x.round())
    assert rows(raw).x.max() == 255
    mean, std = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (normalised.mean, normalised.std))
    assert torch.allclose(rows(normalised).x * std + mean, rows(unit).x, rtol=0, atol=1e-14)
    for data in (normalised, unit, raw):
        mean, std = (torch.tensor(v, dtype=torch.float64).view(-1, 1, 1) for v in (data.mean, data.std))
        assert torch.allclose(rows(data).x * std + mean, rows(unit).x, rtol=0, atol=1e-14)
        black = torch.zeros(3, dtype=torch.float64) - mean.flatten()
        assert torch.allclose(data.fill.double(), black / std.flatten())


def test_test_rows_have_no_influence_on_the_statistics(section: Section, tmp_path: Path) -> None:
    def trained(changed: int) -> Dataset:
        x = IMAGES.copy()
        x[changed] = 255
        names = {"x_train": x[:40], "y_train": LABELS[:40], "x_test": x[40:], "y_test": LABELS[40:]}
        np.savez(tmp_path / "data.npz", **names)
        return load_dataset(section("npz", root=str(tmp_path / "data.npz"), validation=0), "cpu", torch.float32)

    first, other_test, other_train = trained(40), trained(41), trained(0)
    assert first.mean == other_test.mean
    assert torch.equal(rows(first).x, rows(other_test).x)
    assert first.mean != other_train.mean


def test_inputs_have_the_dtype_asked_for_and_labels_are_whole_numbers(npz: Callable[..., Dataset]) -> None:
    for dtype in (torch.float32, torch.float64):
        data = npz(IMAGES, LABELS, dtype)
        assert rows(data).x.dtype == dtype
        assert rows(data).y.dtype == torch.int64
        assert npz(FEATURES, FEATURES[:, :1], dtype).train.y.dtype == dtype


def test_regression_targets_are_standardised_by_training_rows_and_that_is_recorded(
    npz: Callable[..., Dataset],
) -> None:
    y = FEATURES * [10, 1] + 5
    data = npz(FEATURES, y, torch.float64)
    assert data.classes is None
    assert data.outputs == 2
    assert data.train.y.mean(0).abs().max() < 1e-6
    assert (data.train.y.std(0, correction=0) - 1).abs().max() < 1e-6
    as_found = npz(FEATURES, y, torch.float64, standardize_target=False)
    assert data.target_mean is not None
    assert data.target_std is not None
    restored = data.test.y * torch.tensor(data.target_std) + torch.tensor(data.target_mean)
    assert torch.allclose(restored, as_found.test.y)
    assert (as_found.target_mean, as_found.target_std) == (None, None)
    assert {"target_mean", "target_std"} <= set(data.record())
    assert not {"target_mean", "target_std"} & set(as_found.record())


def test_parts_share_no_row_and_lose_none(npz: Callable[..., Dataset]) -> None:
    x = np.arange(60, dtype=np.float32)[:, None]
    data = npz(x, LABELS, normalize="none")
    parts = [set(rows(data, part).x.flatten().tolist()) for part in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [43, 5, 12]
    assert set.union(*parts) == set(range(60))


def test_no_validation_is_an_empty_part(npz: Callable[..., Dataset]) -> None:
    data = npz(IMAGES, LABELS, validation=0)
    assert len(data.validation) == 0
    assert list(data.validation.chunks(10)) == []


def test_the_digest_changes_with_each_byte_target_and_membership_and_with_nothing_else(
    npz: Callable[..., Dataset], section: Section
) -> None:
    first = npz(IMAGES, LABELS)
    changed, labels = IMAGES.copy(), LABELS.copy()
    changed[7, 1, 2, 3] ^= 1
    labels[[0, 1]] = labels[[1, 0]]
    same = [npz(IMAGES, LABELS), npz(IMAGES, LABELS, torch.float64), npz(IMAGES, LABELS, normalize="none")]
    others = [npz(changed, LABELS), npz(IMAGES, labels), npz(IMAGES, LABELS, split_seed=1)]
    assert {data.digest for data in same} == {first.digest}
    assert len({first.digest, *(data.digest for data in others)}) == 4


@pytest.mark.parametrize("memory", ["tensor", "stream"])
def test_the_digest_of_a_folder_changes_with_each_file_and_name(
    section: Section, pictures: Callable[..., Path], memory: str
) -> None:
    root = pictures()

    def digest() -> str:
        return load_dataset(section("image_folder", root=str(root), memory=memory), "cpu", torch.float32).digest

    first = digest()
    assert digest() == first
    moved = root.rename(root.parent / "moved")
    moved.rename(root)
    (root / "notes.txt").write_text("not a row")
    assert digest() == first
    path = root / "cat" / "00.png"
    path.write_bytes(path.read_bytes() + b"\0")  # the same pixels, but another file
    assert digest() != first
    path.write_bytes(path.read_bytes()[:-1])
    assert digest() == first
    path.rename(root / "cat" / "00a.png")
    assert digest() != first


def test_settings_that_do_not_fit_the_set_are_refused(section: Section, npz: Callable[..., Dataset]) -> None:
    with pytest.raises(UserError, match=r"data\.augment=flip: npz has rows of shape \(2,\), not images"):
        npz(FEATURES, LABELS, augment=("flip",))
    assert npz(IMAGES, LABELS, augment=("flip",)).shape == (3, 4, 5)
    with pytest.raises(UserError, match=r"data\.memory=stream: digits is read as a whole"):
        load_dataset(section("digits", memory="stream"), "cpu", torch.float32)


@pytest.mark.parametrize("name", ["digits", "diabetes"])
def test_the_rows_that_a_set_returns_are_not_written_into(section: Section, name: str) -> None:
    source = open_source(name, None, {})
    before = np.array(source.x), source.y.copy()
    prepare_dataset(section(name), source, torch.device("cpu"), torch.float32)
    assert np.array_equal(before[0], np.asarray(source.x))
    assert np.array_equal(before[1], source.y)


def test_loading_twice_gives_the_same_and_another_seed_another_split(section: Section) -> None:
    config = section("digits")
    one, two = (load_dataset(config, "cpu", torch.float32) for _ in range(2))
    other = load_dataset(replace(config, split_seed=1), "cpu", torch.float32)
    assert torch.equal(rows(one).x, rows(two).x)
    assert one.record() == two.record()
    assert one.digest != other.digest
