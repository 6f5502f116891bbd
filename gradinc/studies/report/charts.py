"""Figures as inline SVG: small, readable in both colour schemes and without a script.

The module writes SVG itself, because a page with figures of 200 runs must be small, follow the reader's colour
scheme and describe its figures to screen readers. Every text is passed through `escape`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from markupsafe import Markup, escape

from gradinc.base.text import percent_text, printable
from gradinc.records.curves import Band, Points
from gradinc.records.matrix import together
from gradinc.records.metrics import Matrix
from gradinc.studies.report.axes import Scale, fit, fit_share, tick_text

CHART_WIDTH, HEIGHT = 300, 210
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 10, 40
LETTER = 6.4
"""Approximate width of a character."""

PALE = 0.7
"""Share up to which a cell of a heat map needs dark letters, and share from which it needs light letters."""


@dataclass(frozen=True)
class Line:
    """One curve of a chart.

    Attributes:
        name: its label.
        points: its points.
        style: its colour, a class of the style sheet.
        band: the range around it.
        errors: intervals at single points.
        dots: whether its points are marked.
        place: the number of its setting in the page, by which a reader chooses it; None for other lines.
        faint: whether it is faint until its setting is chosen.
    """

    name: str
    points: Points
    style: str = "c1"
    band: Band = field(default_factory=list)
    errors: Band = field(default_factory=list)
    dots: bool = False
    place: int | None = None
    faint: bool = False


class Numbers:
    """Unique numbers for the elements of one page that other elements refer to."""

    def __init__(self) -> None:
        self._next = count(1)

    def take(self) -> str:
        return f"f{next(self._next)}"


def markup(value: object) -> Markup:
    """Return text from data, escaped and without invalid characters."""
    return escape(printable(value))


def cut(value: str, length: int) -> str:
    """Return a text shortened at its end to fit."""
    return value if len(value) <= length else value[: length - 1] + "…"


def cut_apart(values: Sequence[str], length: int) -> list[str]:
    """Shorten texts at their ends, or at their beginnings if only their ends differ."""
    without_end = [cut(value, length) for value in values]
    without_beginning = [value if len(value) <= length else "…" + value[len(value) - length + 1 :] for value in values]
    return max(without_end, without_beginning, key=lambda texts: len(set(texts)))


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
    parts = [_frame(across, up, x, percent, ticks)]
    parts += [Markup('<path class="mark" d="M{} {}V{}"/>').format(_n(across(m)), TOP, HEIGHT - BOTTOM) for m in inside]
    for line in lines:
        parts.append(_chosen(line, Markup("").join(_drawn(line, across, up))))
    told = [line for line in lines if not line.faint][:8]
    ends_at = [f"{line.name} ends at {tick_text(round(line.points[-1][1], 6), percent=percent)}" for line in told]
    if len(lines) > len(told):
        ends_at.append(f"{len(lines) - len(told)} other lines")
    scale = " The vertical axis is logarithmic." if up.logarithmic else ""
    return _figure(numbers, title, f"{title} against {x}.{scale} {'; '.join(ends_at)}.", parts, CHART_WIDTH, HEIGHT)


def _chosen(line: Line, drawing: Markup) -> Markup:
    """Return the drawing of a line, in a group by which a reader can choose its setting."""
    if line.place is None:
        return drawing
    faint = Markup(' class="off"') if line.faint else ""
    return Markup('<g data-s="{}"{}>{}<title>{}</title></g>').format(line.place, faint, drawing, markup(line.name))


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
    style = markup(line.style)
    if line.band:
        there = [(across(x), up(high)) for x, _, high in line.band]
        back = [(across(x), up(low)) for x, low, _ in reversed(line.band)]
        parts.append(Markup('<path class="band {}" d="{}Z"/>').format(style, _path([*there, *back])))
    if len(line.points) > 1 and "dots" not in line.style:
        path = _path([(across(x), up(y)) for x, y in line.points])
        parts.append(Markup('<path class="line {}" d="{}"/>').format(style, path))
    for x, low, high in line.errors:
        spot = _n(across(x))
        parts.append(Markup('<path class="line {}" d="M{} {}V{}"/>').format(style, spot, _n(up(low)), _n(up(high))))
    if line.dots or len(line.points) == 1:
        parts += [
            Markup('<circle class="dot {}" cx="{}" cy="{}" r="3"/>').format(style, _n(across(px)), _n(up(py)))
            for px, py in line.points
        ]
    return parts


def _frame(across: Scale, up: Scale, x: str, percent: bool, ticks: Sequence[tuple[float, str]]) -> Markup:
    parts = []
    for tick in up.ticks():
        y = _n(up(tick))
        parts.append(Markup('<path class="grid" d="M{} {}H{}"/>').format(LEFT, y, CHART_WIDTH - RIGHT))
        parts.append(
            Markup('<text class="end" x="{}" y="{}" dy=".32em">{}</text>').format(
                LEFT - 5, y, markup(tick_text(tick, percent=percent))
            )
        )
    shown = ticks or [(tick, tick_text(tick)) for tick in across.ticks()]
    length = max(6, int((CHART_WIDTH - LEFT) / max(1, len(shown)) / LETTER))
    room = 0.0
    names = cut_apart([name for _, name in shown], length)
    for (at, _), name in zip(shown, names, strict=True):
        place = min(across(at), CHART_WIDTH - LETTER * len(name) / 2 - 3)
        if place - LETTER * len(name) / 2 >= room:
            parts.append(
                Markup('<text class="mid" x="{}" y="{}">{}</text>').format(
                    _n(place), HEIGHT - BOTTOM + 16, markup(name)
                )
            )
            room = place + LETTER * len(name) / 2 + 4
    log = " (log)" if across.logarithmic else ""
    middle = (LEFT + CHART_WIDTH - RIGHT) / 2
    parts.append(Markup('<text class="mid name" x="{}" y="{}">{}{}</text>').format(middle, HEIGHT - 6, markup(x), log))
    return Markup("").join(parts)


def heat_map_figure(numbers: Numbers, title: str, matrix: Matrix) -> Markup:
    """Return an accuracy matrix: one row before training and one after each task, one column for each task."""
    rows, columns = len(matrix), len(matrix[0])
    left, top = 64, 24
    side = min(48.0, (CHART_WIDTH - left - 4) / columns)
    tall = min(side, 26.0)
    parts = []
    for j in range(columns):
        if j % (1 + columns // 21) == 0:
            parts.append(Markup('<text class="mid" x="{}" y="16">{}</text>').format(_n(left + side * (j + 0.5)), j + 1))
    if any(value is None for row in matrix for value in row):  # one box behind all cells that were not measured
        parts.append(
            Markup('<rect class="none" x="{}" y="{}" width="{}" height="{}"/>').format(
                _n(left + 0.5), _n(top + 0.5), _n(side * columns - 1), _n(tall * rows - 1)
            )
        )
    for i, row in enumerate(matrix):
        y = top + tall * i
        if i % (1 + rows // 32) == 0:
            name = "before" if i == 0 else "after all" if together(matrix) else f"after {i}"
            parts.append(
                Markup('<text class="end" x="{}" y="{}" dy=".32em">{}</text>').format(left - 5, _n(y + tall / 2), name)
            )
        for j, value in enumerate(row):
            if value is not None:
                parts.append(_cell(left + side * j, y, side, tall, value, written=columns <= 10))
    height = top + tall * rows + 4
    last = [value for value in matrix[-1] if value is not None]
    mean = f"mean after the last task {percent_text(sum(last) / len(last))}" if last else "not measured at the end"
    words = f"{title}: accuracy on {columns} tasks, the columns, before training and after each task; {mean}."
    return _figure(numbers, title, words, parts, CHART_WIDTH, height)


def _cell(x: float, y: float, side: float, tall: float, value: float, *, written: bool) -> Markup:
    share = min(max(value, 0.0), 1.0)
    cell = Markup(
        '<rect class="heat" fill-opacity="{}" x="{}" y="{}" width="{}" height="{}"><title>{} %</title></rect>'
    ).format(f"{share:.2f}", _n(x + 0.5), _n(y + 0.5), _n(side - 1), _n(tall - 1), f"{100 * value:.1f}")
    if not written:
        return cell
    number = f"{100 * value:.0f}" if side < 32 else f"{100 * value:.1f}"
    return cell + Markup('<text class="mid {}" x="{}" y="{}" dy=".34em">{}</text>').format(
        "on" if share > PALE else "off", _n(x + side / 2), _n(y + tall / 2), number
    )


@dataclass(frozen=True)
class Upright:
    """One axis of parallel coordinates: its name, and its labels with their heights from 0 to 1."""

    name: str
    ticks: list[tuple[float, str]]


def parallel(
    numbers: Numbers, title: str, uprights: Sequence[Upright], threads: Sequence[tuple[str, list[float], str, float]]
) -> Markup:
    """Return a figure of parallel coordinates.

    Args:
        threads: for each line a name, a height from 0 to 1 on each axis, a style and an opacity.
    """
    width, height, top, bottom, side = max(720, 130 * len(uprights)), 300, 40, 276, 72
    gap = (width - 2 * side) / (len(uprights) - 1)
    places = [side + gap * index for index in range(len(uprights))]
    parts = []
    for name, heights, style, opacity in threads:
        path = _path([(x, bottom + (top - bottom) * h) for x, h in zip(places, heights, strict=True)])
        parts.append(
            Markup('<path class="line {}" stroke-opacity="{}" d="{}"><title>{}</title></path>').format(
                markup(style), f"{opacity:.2f}", path, markup(name)
            )
        )
    for x, upright in zip(places, uprights, strict=True):
        parts.append(Markup('<path class="axis" d="M{} {}V{}"/>').format(_n(x), top, bottom))
        parts.append(
            Markup('<text class="mid name" x="{}" y="{}">{}</text>').format(_n(x), 18, markup(cut(upright.name, 19)))
        )
        names = cut_apart([name for _, name in upright.ticks], 14)
        parts += [
            Markup('<text class="halo" x="{}" y="{}" dy=".32em">{}</text>').format(
                _n(x + 5), _n(bottom + (top - bottom) * h), markup(name)
            )
            for (h, _), name in zip(upright.ticks, names, strict=True)
        ]
    words = f"{title}: {len(threads)} settings over {', '.join(upright.name for upright in uprights)}."
    return _figure(numbers, title, words, parts, width, height)


def _figure(numbers: Numbers, title: str, words: str, parts: Sequence[Markup], width: float, height: float) -> Markup:
    name = numbers.take()
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-labelledby="{}t {}d">'
        '<title id="{}t">{}</title><desc id="{}d">{}</desc>{}</svg>'
    ).format(_n(width), _n(height), name, name, name, markup(title), name, markup(words), Markup("").join(parts))


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)


def _n(value: Any) -> str:
    """Return a coordinate, rounded to tenths of a unit."""
    return f"{value:.1f}".removesuffix(".0")
