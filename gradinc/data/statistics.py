"""Mean and standard deviation of the training rows, in float64, the same for every order of rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import torch

ROWS_CONVERTED = 4096
"""Rows converted at a time."""

_FLAT = 1e-10
"""Fraction of the mean below which a deviation is rounding: the feature is constant."""


@dataclass
class PixelCounts:
    """Counts of the 256 values in each channel of uint8 images.

    Counts are exact, so that the statistics do not depend on the order of the images.
    """

    channels: int
    totals: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.totals = np.zeros((self.channels, 256), np.int64)

    def add(self, images: np.ndarray) -> None:
        """Count the pixels of uint8 images, shape (n, C, H, W)."""
        for start in range(0, len(images), ROWS_CONVERTED):
            for channel in range(self.channels):
                pixels = torch.from_numpy(images[start : start + ROWS_CONVERTED, channel].reshape(-1))
                # np.bincount takes 8 times as long
                self.totals[channel] += torch.bincount(pixels, minlength=256).numpy()

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of each channel, float64, shape (C,)."""
        moments = [_exact_moments([int(count) for count in row]) for row in self.totals]
        mean, std = zip(*moments, strict=True)
        return np.array(mean), _not_flat(np.array(mean), np.array(std))


@dataclass
class FeatureSums:
    """Numbers, sums and sums of squares of each feature of float rows, in float64.

    The rows are added in the order of their files, so that the statistics do not depend on whether they are streamed.
    """

    features: int
    totals: np.ndarray = field(init=False)

    def __post_init__(self) -> None:
        self.totals = np.zeros((self.features, 3))

    def add(self, rows: np.ndarray) -> None:
        """Include float rows, shape (n, features, …)."""
        for row in rows.reshape(len(rows), self.features, -1).astype(np.float64):
            self.totals += np.stack((np.full(len(row), row.shape[1]), row.sum(1), (row**2).sum(1)), 1)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of each feature, float64, shape (features,)."""
        count, total, squares = self.totals.T
        mean = total / count
        return mean, _not_flat(mean, np.sqrt(np.maximum(squares / count - mean**2, 0)))


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and standard deviation per channel of images, or per feature of other rows.

    Args:
        x: uint8 or float rows, shape (n, C, H, W) or (n, features).

    Returns:
        Two float64 arrays of shape (C,) or (features,). A constant feature has the deviation 1.
    """
    if x.dtype == np.uint8 and x.ndim == 4:
        pixels = PixelCounts(x.shape[1])
        pixels.add(x)
        return pixels.moments()
    others = tuple(axis for axis in range(x.ndim) if axis != 1)
    count = math.prod(x.shape[axis] for axis in others)
    mean = _sums(x, others, np.zeros(x.shape[1])) / count
    variance = _sums(x, others, mean, power=2) / count
    return mean, _not_flat(mean, np.sqrt(variance))


def _sums(x: np.ndarray, axes: tuple[int, ...], centre: np.ndarray, power: int = 1) -> np.ndarray:
    """Return Σ (x - centre)^power over some axes, in float64."""
    centre = centre.reshape(1, -1, *(1,) * (x.ndim - 2))
    total = np.zeros(x.shape[1])
    for start in range(0, len(x), ROWS_CONVERTED):
        total += ((x[start : start + ROWS_CONVERTED].astype(np.float64) - centre) ** power).sum(axis=axes)
    return total


def _exact_moments(counts: list[int]) -> tuple[float, float]:
    n = sum(counts)
    total = sum(value * count for value, count in enumerate(counts))
    squares = sum(value * value * count for value, count in enumerate(counts))
    return float(Fraction(total, n)), math.sqrt(Fraction(n * squares - total * total, n * n))


def _not_flat(mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    return np.where(std <= _FLAT * np.abs(mean), 1.0, std)
