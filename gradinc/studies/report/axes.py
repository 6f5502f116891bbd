"""Scales from numbers to positions, and their ticks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Numbers from `low` to `high` laid out from `start` to `end`, evenly or by their logarithms."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = (self._inner(v) for v in (self.low, self.high, value))
        share = 0.5 if high == low else (value - low) / (high - low)
        return self.start + (self.end - self.start) * share

    def _inner(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.logarithmic else value

    def ticks(self, count: int = 5) -> list[float]:
        """Return round numbers within the scale, about `count` of them."""
        if self.logarithmic:
            first, last = math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9)
            powers = [10.0**power for power in range(first - 1, last + 1, max(1, (last - first) // count + 1))]
            factors = (1, 2, 5) if last - first < 2 else (1,)
            found = [factor * power for power in powers for factor in factors]
            return [tick for tick in found if self.low <= tick * (1 + 1e-9) and tick <= self.high * (1 + 1e-9)]
        step = nice_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        return [index * step for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


def nice_step(rough: float) -> float:
    """Return the next larger number that is 1, 2 or 5 times a power of ten."""
    if not rough > 0 or not math.isfinite(rough):
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))


def fit(values: Sequence[float], start: float, end: float, *, wide: float = 50.0) -> Scale:
    """Return a scale with round ends for all values; logarithmic if positive and over a factor `wide` apart."""
    low, high = min(values), max(values)
    if low > 0 and high / low > wide:
        return Scale(low, high, start, end, logarithmic=True)
    if low == high:
        margin = abs(low) * 0.1 or 0.1
        low, high = low - margin, high + margin
    step = nice_step((high - low) / 5)
    return Scale(math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step, start, end)


def fit_share(values: Sequence[float], start: float, end: float) -> Scale:
    """Return a scale with round ends for shares, which does not leave 0 to 1 unless a value does."""
    found = fit(values, start, end, wide=math.inf)
    low = max(found.low, 0.0) if min(values) >= 0 else max(found.low, -1.0)
    return Scale(low, min(found.high, 1.0) if max(values) <= 1 else found.high, start, end)


def tick_text(value: float, *, percent: bool = False) -> str:
    """Return a tick's number as a short text: ``20k``, ``0.05``, ``1e-5``, ``85 %``."""
    if percent:
        return f"{100 * value:.4g} %"
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size and abs(value) < 1e12:
            return f"{value / size:.4g}{unit}"
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e12):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.4g}"
