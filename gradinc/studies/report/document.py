"""The elements of a report, which are written as HTML and as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from markupsafe import Markup

MOST_BANDS = 5
"""Largest number of settings whose bands can be told apart in one figure; the script has the same number."""


class Entry(NamedTuple):
    """One cell of a table: its text, and a number to sort by if the text is not a number."""

    text: str
    value: float | None = None


@dataclass(frozen=True)
class ReportTable:
    """A table.

    Attributes:
        title: its title.
        head: names of the columns.
        rows: one list of cells for each row.
        folded: whether the page shows it only on request.
        wrapped: whether long cells continue on further lines.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Entry]]
    folded: bool = False
    wrapped: bool = False

    @property
    def numeric(self) -> set[int]:
        """The columns with numbers in them."""
        return {index for row in self.rows for index, cell in enumerate(row) if cell.value is not None}


@dataclass(frozen=True)
class Figure:
    """A figure and its caption."""

    picture: Markup
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Figures of the same kind, side by side, under a heading.

    Attributes:
        title: the heading.
        figures: the figures.
        folded: whether the page shows them only on request.
    """

    title: str
    figures: Sequence[Figure]
    folded: bool = False


class LegendEntry(NamedTuple):
    """One line of a legend.

    Attributes:
        style: style of its lines.
        name: the setting.
        place: its number in the page, by which a reader chooses it; None if it cannot be chosen.
        faint: whether it is faint until it is chosen.
    """

    style: str
    name: str
    place: int | None = None
    faint: bool = False


@dataclass(frozen=True)
class Section:
    """One part of a report.

    Attributes:
        title: its heading.
        notes: sentences that explain its figures and tables.
        legend: style and name of the lines in its figures.
        figures, wide: figures side by side, and figures of full width.
        galleries: further figures, in groups.
        tables: tables.
        listings: titles and texts that are shown line by line, without markup.
    """

    title: str
    notes: Sequence[str] = ()
    legend: Sequence[LegendEntry] = ()
    figures: Sequence[Figure] = ()
    wide: Sequence[Figure] = ()
    galleries: Sequence[Gallery] = ()
    tables: Sequence[ReportTable] = ()
    listings: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True)
class Report:
    """A whole report.

    Attributes:
        title: its heading.
        facts: names and values of the main results.
        warnings: sentences that a reader must know before comparing runs.
        sections: its parts, in order.
        settings: the settings that a reader can choose.
    """

    title: str
    facts: Sequence[tuple[str, str]]
    warnings: Sequence[str]
    sections: Sequence[Section] = field(default_factory=list)
    settings: Sequence[LegendEntry] = ()

    @property
    def crowded(self) -> bool:
        """Return whether so many settings are shown that their bands are pale."""
        return sum(not each.faint for each in self.settings) > MOST_BANDS
