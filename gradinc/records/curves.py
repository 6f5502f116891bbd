"""Curves of runs over samples, updates, rows, passes and seconds, and averages of several curves."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from gradinc.records.recorded import POSITIONS, RecordedRun, finite
from gradinc.records.statistics import estimate, quantile

AXES = {"samples": "samples", "updates": "step", "rows": "rows", "passes": "passes", "seconds": "step"}
"""Axes of curves, and the key of a log line for each; seconds are in ``timing.jsonl``."""

NOTES = "notes"
"""Key of a log line with the numbers of diagnostics and of methods."""

GRID = 80
"""Points of a plotted curve; a longer curve is reduced to means."""

Points = list[tuple[float, float]]
Band = list[tuple[float, float, float]]
"""x, lower end and upper end."""


def curve(run: RecordedRun, axis: str, *keys: str) -> Points:
    """Return the values under the keys of all log lines that have them, over one of `AXES`."""
    column = run.columns.get(keys)
    if column is None:
        return []
    along = column.places[POSITIONS.index(AXES[axis])]
    places: Iterable[float | None] = (along[line] for line in column.lines)
    if axis == "seconds":
        clock = Clock()
        clock.extend(run.timing, "seconds")
        places = (clock.at(step) for step in places)
    points = [(x, y) for x, y in zip(places, column.values, strict=True) if x is not None and x == x]
    return sorted(points, key=lambda point: point[0])


def diagnostics(run: RecordedRun) -> list[str]:
    """Return the names of the numbers that the run's log has under `NOTES`."""
    return [keys[1] for keys in run.columns if len(keys) == 2 and keys[0] == NOTES]


class Clock:
    """A column of ``timing.jsonl`` at each update. A killed start can log updates that the next one repeated."""

    def __init__(self) -> None:
        self.points: Points = []
        self.steps: list[float] = []

    def extend(self, lines: Iterable[Mapping[str, Any]], column: str) -> None:
        """Add the next lines of the file."""
        for line in lines:
            step, time = finite(line.get("step")), finite(line.get(column))
            if step is not None and time is not None:
                while self.steps and self.steps[-1] >= step:
                    self.steps.pop()
                    self.points.pop()
                self.steps.append(step)
                self.points.append((step, time))

    def at(self, step: float | None) -> float | None:
        """Return the column's value at an update, interpolated; None outside its range."""
        known = self.points and step is not None and step == step
        return value_at(self.points, step, self.steps) if known and step is not None else None


def value_at(points: Points, x: float, xs: Sequence[float] | None = None) -> float:
    """Return the curve's value, interpolated between two points and constant beyond its ends."""
    xs = [point[0] for point in points] if xs is None else xs
    above = bisect_left(xs, x)
    if above == 0 or above == len(xs):
        return points[min(above, len(xs) - 1)][1]
    (x0, y0), (x1, y1) = points[above - 1], points[above]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0) if x1 > x0 else y1


def thinned(points: Points, count: int = GRID) -> tuple[Points, Band]:
    """Reduce a curve to few points: means of sections of equal length, with each section's range."""
    if len(points) <= count:
        return list(points), []
    first, last = points[0][0], points[-1][0]
    buckets: dict[int, Points] = {}
    for x, y in points:
        index = min(int(count * (x - first) / (last - first)), count - 1) if last > first else 0
        buckets.setdefault(index, []).append((x, y))
    line, band = [], []
    for bucket in buckets.values():
        x = fmean(point[0] for point in bucket)
        ys = [point[1] for point in bucket]
        line.append((x, fmean(ys)))
        band.append((x, min(ys), max(ys)))
    return line, band


def average(curves: Sequence[Points]) -> tuple[Points, Band]:
    """Return the mean of several curves where all of them have values, and their range."""
    curves = [points for points in curves if points]
    if not curves:
        return [], []
    if len(curves) == 1:
        return thinned(curves[0])
    first = max(points[0][0] for points in curves)
    last = min(points[-1][0] for points in curves)
    line, band = [], []
    for x, ys in _read(curves, _grid(curves, first, last)):
        line.append((x, fmean(ys)))
        band.append((x, min(ys), max(ys)))
    return line, band


def spread(curves: Sequence[Points]) -> tuple[Points, Band, Band]:
    """Return the median of many curves, the range of the middle 80 % and the whole range, where curves have values."""
    curves = [points for points in curves if points]
    if not curves:
        return [], [], []
    first = min(points[0][0] for points in curves)
    last = max(points[-1][0] for points in curves)
    line, middle, whole = [], [], []
    for x, found in _read(curves, _grid(curves, first, last)):
        ys = sorted(found)
        line.append((x, quantile(ys, 0.5)))
        middle.append((x, quantile(ys, 0.1), quantile(ys, 0.9)))
        whole.append((x, ys[0], ys[-1]))
    return line, middle, whole


def _read(curves: Sequence[Points], places: Sequence[float]) -> Iterator[tuple[float, list[float]]]:
    """Yield the values of the curves that reach each place."""
    sides = [[point[0] for point in points] for points in curves]
    for x in places:
        pairs = zip(curves, sides, strict=True)
        values = [value_at(points, x, xs) for points, xs in pairs if xs[0] <= x <= xs[-1]]
        if values:
            yield x, values


def _grid(curves: Sequence[Points], first: float, last: float) -> list[float]:
    """Return the places for reading several curves: their own points if equal and few."""
    places = [[point[0] for point in points] for points in curves]
    if len(places[0]) <= GRID and all(xs == places[0] for xs in places[1:]):
        return list(dict.fromkeys(places[0]))
    if last <= first:
        return [last] if last == first else []
    return [first + (last - first) * index / (GRID - 1) for index in range(GRID)]


def with_interval(curves: Sequence[Points], bounds: tuple[float, float] | None = None) -> tuple[Points, Band]:
    """Return the mean of several curves where all have values, and its 95 % interval, which no share leaves."""
    curves = [points for points in curves if points]
    if len(curves) < 2:
        return (thinned(curves[0])[0] if curves else []), []
    first = max(points[0][0] for points in curves)
    last = min(points[-1][0] for points in curves)
    line, band = [], []
    for x, ys in _read(curves, _grid(curves, first, last)):
        found = estimate(ys, bounds)
        if found is not None and found.interval is not None:
            line.append((x, found.mean))
            band.append((x, *found.interval))
    return line, band
