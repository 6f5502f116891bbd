"""Means with intervals, and quantiles, of a few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        mean: mean of `count` numbers.
        half: half the width of Student's 95 % confidence interval of the mean; None for a single number.
        low, high: the smallest and the largest number.
    """

    mean: float
    half: float | None
    low: float
    high: float
    count: int


def estimate(values: Sequence[float]) -> Estimate | None:
    """Return the mean of some numbers with its interval; None for no numbers."""
    if not values:
        return None
    count, half = len(values), None
    if count > 1:
        half = student(count - 1) * stdev(values) / math.sqrt(count)
    return Estimate(fmean(values), half, min(values), max(values), count)


def student(freedom: float) -> float:
    """Return the factor of a two-sided interval: Student's t at `CONFIDENCE`."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + CONFIDENCE) / 2))


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return the value with this share of the sorted numbers below it, interpolated."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
