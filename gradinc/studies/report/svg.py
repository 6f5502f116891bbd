"""Elements of figures as inline SVG: small, readable in both colour schemes and without a script.

The package writes SVG itself, because a page with figures of 200 runs must be small, follow the reader's colour
scheme and describe its figures to screen readers. Every text is passed through `escape`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import count
from typing import Any

from markupsafe import Markup, escape

from gradinc.base.text import printable

CHART_WIDTH = 300
LETTER = 6.4
"""Approximate width of a character."""

STYLES = 12
"""Number of styles of settings, c1 to c12; each has its own colour and marker, and two share their dashes."""

_OUTLINES = (
    "M-3 0A3 3 0 1 1 3 0 3 3 0 1 1-3 0Z",
    "M-2.7-2.7H2.7V2.7H-2.7Z",
    "M0-3.6 3.6 2.7H-3.6Z",
    "M0-3.9 3.9 0 0 3.9-3.9 0Z",
    "M0 3.6 3.6-2.7H-3.6Z",
    "M-1.2-3.6H1.2V-1.2H3.6V1.2H1.2V3.6H-1.2V1.2H-3.6V-1.2H-1.2Z",
)
"""Circle, square, triangle, diamond, triangle with its tip down, and cross."""

SHAPES = Markup("<defs>{}</defs>").format(
    Markup("").join(
        Markup('<path id="m{}" class="{}" d="{}"/>').format(
            index + 1, "hollow" if index >= len(_OUTLINES) else "full", _OUTLINES[index % len(_OUTLINES)]
        )
        for index in range(STYLES)
    )
)
"""The markers of all styles, which `marker` refers to. A file with figures needs them once."""


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


def marker(style: str, x: float, y: float, kind: str = "dot") -> Markup:
    """Return the marker of a style at a point; without an own marker it is a dot."""
    own = style.removeprefix("c")
    return Markup('<use class="{}" href="#m{}" x="{}" y="{}"/>').format(
        kind, own if own.isdecimal() and own != "0" else 1, coordinate(x), coordinate(y)
    )


def grouped(style: str, parts: Sequence[Markup], name: str, place: int | None = None, *, faint: bool = False) -> Markup:
    """Return elements with one style and one name, and with the number by which a reader chooses their setting."""
    number = "" if place is None else Markup(' data-s="{}"').format(place)
    return Markup('<g{} class="{}{}">{}<title>{}</title></g>').format(
        number, style, " off" if faint else "", Markup("").join(parts), markup(name)
    )


def drawing(numbers: Numbers, title: str, words: str, parts: Sequence[Markup], width: float, height: float) -> Markup:
    """Return a figure with its title and its description in words."""
    name = numbers.take()
    return Markup(
        '<svg viewBox="0 0 {} {}" role="img" aria-labelledby="{}">'
        '<title>{}</title><desc id="{}">{}</desc><g aria-hidden="true">{}</g></svg>'
    ).format(coordinate(width), coordinate(height), name, markup(title), name, markup(words), Markup("").join(parts))


def polyline(points: Sequence[tuple[float, float]]) -> str:
    """Return the data of a path through points."""
    return "M" + "L".join(f"{coordinate(x)} {coordinate(y)}" for x, y in points)


def coordinate(value: Any) -> str:
    """Return a coordinate, rounded to tenths of a unit."""
    return f"{value:.1f}".removesuffix(".0")
