"""The subject of a report: runs, their settings, and the settings with a colour of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gradinc.base.text import counted
from gradinc.records.curves import Points, average, spread
from gradinc.records.groups import RunGroup, group, ranked
from gradinc.records.recorded import SCORES, RecordedRun
from gradinc.studies.report.charts import Line, Numbers

COLOURS = 6
"""Largest number of settings that all have a line; of more settings, only the best have lines, over a band of all."""

_BEST = 3
"""Number of settings that each have a line if there are more than `COLOURS`."""


@dataclass(frozen=True)
class Subject:
    """The runs of a report.

    Attributes:
        title: the heading of the page.
        runs: all runs.
    """

    title: str
    runs: Sequence[RecordedRun]

    @cached_property
    def _grouped(self) -> tuple[list[str], list[RunGroup]]:
        return group(self.runs)

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
        """Return whether there are too many settings to draw each of them."""
        return len(self.settings) > COLOURS

    @cached_property
    def coloured(self) -> dict[str, RunGroup]:
        """The settings that each have a line, by their style."""
        chosen = self.ranked[:_BEST] if self.many else self.settings
        return {f"c{number}": one for number, one in enumerate(chosen, start=1)}

    @property
    def legend(self) -> list[tuple[str, str]]:
        """Meanings of the styles of `lines`."""
        own = [(style, _counted(one)) for style, one in self.coloured.items()]
        if not self.many:
            return own if len(self.runs) > 1 else []
        return [
            *own,
            (
                "all",
                f"all {len(self.settings)} settings: the median, and bands of the middle 80 % and of the whole range",
            ),
        ]

    def lines(self, curves: dict[RunGroup, list[Points]]) -> list[Line]:
        """Return the lines of the settings with a colour, and bands of all settings if there are many."""
        lines = []
        if self.many:
            means = [average(of_runs)[0] for of_runs in curves.values()]
            middle, most, whole = spread(means)
            lines = [Line("the whole range", middle, "all none", whole), Line("the median", middle, "all", most)]
        for style, one in self.coloured.items():
            points, band = average(curves.get(one, []))
            lines.append(Line(one.name, points, style, band))
        return lines


@dataclass(frozen=True)
class Page:
    """The data that all sections of a report share: its subject, and unique numbers for its elements."""

    subject: Subject
    numbers: Numbers


def _counted(one: RunGroup) -> str:
    unfinished = "" if one.finished else ", not finished"
    return f"{one.name} ({counted(len(one.drawn), 'run')}{unfinished})"
