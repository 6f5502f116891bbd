"""Statistics are exact, do not depend on the order of rows, and a constant feature is harmless."""

from __future__ import annotations

import numpy as np
import pytest

from gradinc.data.statistics import ROWS_CONVERTED, PixelCounts, moments

IMAGES = np.random.default_rng(0).integers(0, 256, (ROWS_CONVERTED + 7, 3, 4, 2), np.uint8)
FEATURES = np.random.default_rng(0).normal([5.0, -1e6], [2.0, 1e-2], (ROWS_CONVERTED + 7, 2))


def test_images_have_one_mean_and_deviation_for_each_channel() -> None:
    mean, std = moments(IMAGES)
    assert mean == pytest.approx(IMAGES.mean(axis=(0, 2, 3), dtype=np.float64), rel=1e-13)
    assert std == pytest.approx(IMAGES.std(axis=(0, 2, 3), dtype=np.float64), rel=1e-13)


def test_other_rows_have_one_for_each_feature() -> None:
    mean, std = moments(FEATURES)
    assert mean == pytest.approx(FEATURES.mean(axis=0), rel=1e-12)
    assert std == pytest.approx(FEATURES.std(axis=0), rel=1e-9)


def test_float_images_count_like_the_same_images_in_bytes() -> None:
    for mine, bytes_ in zip(moments(IMAGES.astype(np.float32)), moments(IMAGES), strict=True):
        assert mine == pytest.approx(bytes_, rel=1e-12)


def test_pixels_may_come_in_any_order_and_in_pieces() -> None:
    pieces = PixelCounts(3)
    for image in IMAGES[np.random.default_rng(1).permutation(len(IMAGES))]:
        pieces.add(image[None])
    for mine, whole in zip(pieces.moments(), moments(IMAGES), strict=True):
        assert mine.tolist() == whole.tolist()


@pytest.mark.parametrize("value", [0.0, 0.1, -123456.7])
def test_a_constant_feature_gets_deviation_one(value: float) -> None:
    rows = FEATURES.copy()
    rows[:, 1] = value
    _, std = moments(rows.astype(np.float32))
    assert std[1] == 1
    assert std[0] == pytest.approx(2, rel=0.1)


def test_constant_images_get_deviation_one() -> None:
    mean, std = moments(np.full((4, 1, 3, 3), 7, np.uint8))
    assert (mean.tolist(), std.tolist()) == ([7.0], [1.0])
