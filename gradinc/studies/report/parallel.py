"""Parallel coordinates: settings as lines over one axis for each key."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from gradinc.studies.report.charts import Line
from gradinc.studies.report.svg import Numbers, coordinate, cut, cut_apart, drawing, grouped, markup, polyline


@dataclass(frozen=True)
class Upright:
    """One axis of parallel coordinates: its name, and its labels with their heights from 0 to 1."""

    name: str
    ticks: list[tuple[float, str]]


def parallel(
    numbers: Numbers, title: str, uprights: Sequence[Upright], threads: Sequence[tuple[Line, float]]
) -> Markup:
    """Return a figure of parallel coordinates.

    Args:
        threads: lines, whose points are the number of an axis and a height from 0 to 1, and their opacity while they
            are faint.
    """
    width, height, top, bottom, side = max(720, 130 * len(uprights)), 300, 40, 276, 72
    gap = (width - 2 * side) / (len(uprights) - 1)
    places = [side + gap * index for index in range(len(uprights))]
    parts = []
    for line, opacity in threads:
        points = [(places[int(axis)], bottom + (top - bottom) * height) for axis, height in line.points]
        thread = Markup('<path class="line" stroke-opacity="{}" d="{}"/>').format(f"{opacity:.2f}", polyline(points))
        parts.append(grouped(line.style, [thread], line.name, line.place, faint=line.faint))
    for x, upright in zip(places, uprights, strict=True):
        parts.append(Markup('<path class="axis" d="M{} {}V{}"/>').format(coordinate(x), top, bottom))
        parts.append(
            Markup('<text class="mid name" x="{}" y="{}">{}</text>').format(
                coordinate(x), 18, markup(cut(upright.name, 19))
            )
        )
        names = cut_apart([name for _, name in upright.ticks], 14)
        parts += [
            Markup('<text class="halo" x="{}" y="{}" dy=".32em">{}</text>').format(
                coordinate(x + 5), coordinate(bottom + (top - bottom) * h), markup(name)
            )
            for (h, _), name in zip(upright.ticks, names, strict=True)
        ]
    words = f"{title}: {len(threads)} settings over {', '.join(upright.name for upright in uprights)}."
    return drawing(numbers, title, words, parts, width, height)
