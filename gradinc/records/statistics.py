"""Means with intervals, and quantiles, of a few numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Literal

CONFIDENCE = 0.95

SpreadKind = Literal["sd", "sem", "ci95"]

SPREADS: dict[SpreadKind, str] = {
    "sd": "standard deviation",
    "sem": "standard error of the mean",
    "ci95": "half of Student's 95 % interval of the mean",
}
"""What can follow the ± of a mean."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval.

    Attributes:
        mean: mean of `count` numbers.
        half: half the width of Student's 95 % confidence interval of the mean; None for a single number.
        low, high: the smallest and the largest number.
        deviation: the standard deviation of the numbers, over `count` − 1; None for a single number.
        bounds: the range that the numbers can have, if it is known.
    """

    mean: float
    half: float | None
    low: float
    high: float
    count: int
    deviation: float | None = None
    bounds: tuple[float, float] | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval, cut at the bounds of the numbers: the cut part cannot contain their mean."""
        if self.half is None:
            return None
        least, most = self.bounds or (-math.inf, math.inf)
        return max(self.mean - self.half, least), min(self.mean + self.half, most)


def estimate(values: Sequence[float], bounds: tuple[float, float] | None = None) -> Estimate | None:
    """Return the mean of some numbers with its interval; None for no numbers."""
    if not values:
        return None
    count, half, deviation = len(values), None, None
    if count > 1:
        deviation = stdev(values)
        half = spread_of(deviation, count, "ci95")
    return Estimate(fmean(values), half, min(values), max(values), count, deviation, bounds)


def spread_of(deviation: float | None, count: int, kind: SpreadKind) -> float | None:
    """Return the number after the ± of a mean; None for a single number.

    Args:
        deviation: the standard deviation of `count` numbers, over `count` − 1.
    """
    if deviation is None or count < 2:
        return None
    if kind == "sd":
        return deviation
    return (1.0 if kind == "sem" else student(count - 1)) * deviation / math.sqrt(count)


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
