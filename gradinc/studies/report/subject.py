"""The subject of a report: runs, their settings, and the settings with a colour of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from gradinc.base.text import counted
from gradinc.records.curves import Band, Points, average, thinned
from gradinc.records.groups import RunGroup, group, ranked
from gradinc.records.recorded import SCORES, RecordedRun
from gradinc.studies.report.charts import Line
from gradinc.studies.report.document import LegendEntry
from gradinc.studies.report.svg import STYLES, Numbers

_BEST = 3
"""Number of settings that are shown in full if there are more than styles; the others are faint until chosen."""

_COARSE = 24
"""Points of the curve of a faint setting."""


@dataclass(frozen=True)
class Subject:
    """The runs of a report.

    Attributes:
        title: the heading of the page.
        runs: all runs.
        by: the keys that make settings; by default all keys besides the seed in which the runs differ.
    """

    title: str
    runs: Sequence[RecordedRun]
    by: Sequence[str] = ()

    @cached_property
    def _grouped(self) -> tuple[list[str], list[RunGroup]]:
        return group(self.runs, self.by)

    @property
    def keys(self) -> list[str]:
        """The keys besides the seed in which the runs differ."""
        return self._grouped[0]

    @property
    def settings(self) -> list[RunGroup]:
        """The settings, in the order of their values."""
        return self._grouped[1]

    @cached_property
    def measure(self) -> str:
        """The measure for comparing settings: the first measure that at least one run has."""
        had = {run.measure for run in self.runs}
        return next((name for name in SCORES if name in had), "accuracy")

    @cached_property
    def part(self) -> str:
        """The rows that the results are measured on."""
        return "validation" if {run.part for run in self.runs} == {"validation"} else "test"

    @property
    def score_name(self) -> str:
        """The score of the report in words: ``test accuracy``."""
        return f"{self.part} {self.measure}"

    @cached_property
    def ranked(self) -> list[RunGroup]:
        """The settings, the best first."""
        return ranked(self.settings, self.measure)

    @property
    def many(self) -> bool:
        """Return whether there are too many settings to show all of them in full."""
        return len(self.settings) > STYLES

    @cached_property
    def styles(self) -> dict[RunGroup, str]:
        """The style of every setting; the styles repeat if there are more settings."""
        order = self.ranked if self.many else self.settings
        return {one: f"c{index % STYLES + 1}" for index, one in enumerate(order)}

    @cached_property
    def places(self) -> dict[RunGroup, int]:
        """The number of each setting in the page, by which it is chosen there."""
        return {one: index for index, one in enumerate(self.styles)}

    @cached_property
    def shown(self) -> list[RunGroup]:
        """The settings that are shown in full at first."""
        return self.ranked[:_BEST] if self.many else self.settings

    @property
    def legend(self) -> list[LegendEntry]:
        """The styles of `lines`; settings that are faint at first are not listed until they are chosen."""
        if len(self.runs) < 2:
            return []
        alike = len({len(one.drawn) for one in self.settings}) == 1
        return [
            LegendEntry(style, one.name + _count(one, alike=alike), self.places[one], one not in self.shown)
            for one, style in self.styles.items()
        ]

    def lines(self, curves: dict[RunGroup, list[Points]]) -> list[Line]:
        """Return the lines of all settings: the mean of their curves, with the range."""
        return self.with_places({one: average(found) for one, found in curves.items()})

    def with_places(self, found: Mapping[RunGroup, tuple[Points, Band]]) -> list[Line]:
        """Return lines with the settings' styles, the faint ones first, with fewer points and without bands."""
        lines = []
        for one, style in self.styles.items():
            points, band = found.get(one, ([], []))
            faint = one not in self.shown
            if faint:
                points, band = thinned(points, _COARSE)[0], []
            lines.append(Line(one.name, points, style, band, place=self.places[one], faint=faint))
        return sorted(lines, key=lambda line: not line.faint)


@dataclass(frozen=True)
class Page:
    """The data that all sections of a report share: its subject, and unique numbers for its elements."""

    subject: Subject
    numbers: Numbers


def _count(one: RunGroup, *, alike: bool) -> str:
    """Return what differs between settings besides their keys: the number of runs, and that none is finished."""
    words = [*([] if alike else [counted(len(one.drawn), "run")]), *([] if one.finished else ["not finished"])]
    return f" ({', '.join(words)})" if words else ""
