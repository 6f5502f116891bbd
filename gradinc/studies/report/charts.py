"""Curves over a common axis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from markupsafe import Markup

from gradinc.records.curves import Band, Points
from gradinc.studies.report.axes import Scale, fit, fit_share, tick_text
from gradinc.studies.report.svg import (
    CHART_WIDTH,
    LETTER,
    Numbers,
    coordinate,
    cut_apart,
    drawing,
    grouped,
    marker,
    markup,
    polyline,
)

HEIGHT = 210
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 10, 40

_TOLD = 12
"""Largest number of lines, and of points, in the description of a figure."""

_STEEP = 0.71
"""Sine and cosine of the angle of slanted labels."""

_APART = 16
"""Smallest distance between slanted labels along the axis."""

_LONGEST = 14
"""Longest slanted label, in characters."""


@dataclass(frozen=True)
class Line:
    """One curve of a chart.

    Attributes:
        name: its label.
        points: its points.
        style: its colour, dashes and marker: a class of the style sheet.
        band: the range around it.
        errors: intervals at single points.
        dots: whether its points are marked.
        joined: whether its points are connected.
        place: the number of its setting in the page, by which a reader chooses it; None for other lines.
        faint: whether it is faint until its setting is chosen.
    """

    name: str
    points: Points
    style: str = "c1"
    band: Band = field(default_factory=list)
    errors: Band = field(default_factory=list)
    dots: bool = False
    joined: bool = True
    place: int | None = None
    faint: bool = False


def chart(
    numbers: Numbers,
    title: str,
    lines: Sequence[Line],
    x: str,
    *,
    percent: bool = False,
    ticks: Sequence[tuple[float, str]] = (),
    logarithmic: bool = False,
    marks: Sequence[float] = (),
) -> Markup:
    """Return curves over a common axis.

    Args:
        x: label of the axis.
        percent: whether the values are shares.
        ticks: positions on the axis with their labels, if the axis does not have regular numbers from 0.
        logarithmic: whether the axis with these positions is logarithmic.
        marks: positions on the axis where a task ended.
    """
    lines = [line for line in lines if line.points]
    if not lines:
        return Markup("")
    ys = [y for line in lines for y in _heights(line)]
    across = _across([p[0] for line in lines for p in line.points], ticks, logarithmic)
    up = fit_share(ys, HEIGHT - BOTTOM, TOP) if percent else fit(ys, HEIGHT - BOTTOM, TOP)
    inside = [mark for mark in marks if across.low < mark < across.high]
    labels, more = _labels(across, ticks)
    log = " (log)" if across.logarithmic else ""
    middle, foot = (LEFT + CHART_WIDTH - RIGHT) / 2, HEIGHT + more - 6
    parts = [_grid(up, percent), *labels]
    parts.append(Markup('<text class="mid name" x="{}" y="{}">{}{}</text>').format(middle, foot, markup(x), log))
    parts += [
        Markup('<path class="mark" d="M{} {}V{}"/>').format(coordinate(across(m)), TOP, HEIGHT - BOTTOM) for m in inside
    ]
    parts += [grouped(line.style, _drawn(line, across, up), line.name, line.place, faint=line.faint) for line in lines]
    told = [line for line in lines if not line.faint][:_TOLD]
    names = dict(ticks)
    said = [_said(line, names, percent=percent) for line in told]
    if len(lines) > len(told):
        said.append(f"{len(lines) - len(told)} other lines")
    scale = " The vertical axis is logarithmic." if up.logarithmic else ""
    words = f"{title} against {x}.{scale} {'; '.join(said)}."
    return drawing(numbers, title, words, parts, CHART_WIDTH, HEIGHT + more)


def _said(line: Line, names: dict[float, str], *, percent: bool) -> str:
    """Return a line in words: its end, or its first points if they are not connected."""
    texts = [(names.get(x), tick_text(round(y, 6), percent=percent)) for x, y in line.points]
    if line.joined or None in dict(texts):
        return f"{line.name} ends at {texts[-1][1]}"
    return f"{line.name}: {', '.join(f'{name} {text}' for name, text in texts[:_TOLD])}"


def _across(xs: Sequence[float], ticks: Sequence[tuple[float, str]], logarithmic: bool) -> Scale:
    if not ticks:
        low = 0.0 if 0 <= min(xs) < 0.3 * max(xs) or min(xs) == max(xs) else min(xs)
        return Scale(low, max(max(xs), low + 1e-9), LEFT, CHART_WIDTH - RIGHT)
    places = [*xs, *(place for place, _ in ticks)]
    return Scale(min(places), max(places), LEFT + 26, CHART_WIDTH - RIGHT - 26, logarithmic)


def _heights(line: Line) -> Iterable[float]:
    yield from (y for _, y in line.points)
    for _, low, high in [*line.band, *line.errors]:
        yield low
        yield high


def _drawn(line: Line, across: Scale, up: Scale) -> list[Markup]:
    parts = []
    if line.band:
        there = [(across(x), up(high)) for x, _, high in line.band]
        back = [(across(x), up(low)) for x, low, _ in reversed(line.band)]
        parts.append(Markup('<path class="band" d="{}Z"/>').format(polyline([*there, *back])))
    spots = [(across(x), up(y)) for x, y in line.points]
    if len(spots) > 1 and line.joined:
        parts.append(Markup('<path class="line" d="{}"/>').format(polyline(spots)))
    for x, low, high in line.errors:
        ends = coordinate(across(x)), coordinate(up(low)), coordinate(up(high))
        parts.append(Markup('<path class="error" d="M{} {}V{}"/>').format(*ends))
    if line.dots or len(spots) == 1:
        parts += [marker(line.style, *spot) for spot in spots]
    elif line.place is not None:
        parts.append(marker(line.style, *spots[-1], "last"))
    return parts


def _grid(up: Scale, percent: bool) -> Markup:
    parts = []
    for tick in up.ticks():
        y = coordinate(up(tick))
        parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, y, CHART_WIDTH - RIGHT))
        name = markup(tick_text(tick, percent=percent))
        parts.append(Markup('<text class="end" x="{}" y="{}" dy=".32em">{}</text>').format(LEFT - 5, y, name))
    return Markup("").join(parts)


def _labels(across: Scale, ticks: Sequence[tuple[float, str]]) -> tuple[list[Markup], float]:
    """Return the labels below the axis, and the height that they need more than one line has."""
    shown = ticks or [(tick, tick_text(tick)) for tick in across.ticks()]
    length = max(6, int((CHART_WIDTH - LEFT) / max(1, len(shown)) / LETTER))
    names = cut_apart([name for _, name in shown], length)
    room, kept = 0.0, []
    for (at, _), name in zip(shown, names, strict=True):
        half = LETTER * len(name) / 2
        place = min(across(at), CHART_WIDTH - half - 3)
        if place - half >= room:
            kept.append((place, name))
            room = place + half + 4
    whole = [name for _, name in shown]
    slanted = [name for _, name in kept] != whole and not all(name.isdecimal() for name in whole)
    spots = [across(at) for at, _ in shown]
    if slanted and min((b - a for a, b in pairwise(spots)), default=0.0) >= _APART:
        return _slanted(spots, cut_apart(whole, _LONGEST))
    form = Markup('<text class="mid" x="{}" y="{}">{}</text>')
    return [form.format(coordinate(place), HEIGHT - BOTTOM + 16, markup(name)) for place, name in kept], 0.0


def _slanted(spots: Sequence[float], names: Sequence[str]) -> tuple[list[Markup], float]:
    y = HEIGHT - BOTTOM + 12
    form = Markup('<text class="end" x="{}" y="{}" transform="rotate(-45 {} {})">{}</text>')
    labels = [
        form.format(coordinate(x + 4), y, coordinate(x + 4), y, markup(name))
        for x, name in zip(spots, names, strict=True)
    ]
    return labels, max(0.0, _STEEP * LETTER * max(map(len, names)) - 4)
