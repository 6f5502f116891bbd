"""Learning curves against all five costs, and diagnostics."""

from __future__ import annotations

from itertools import pairwise
from statistics import fmean

from gradinc.base.text import count_text, number_text
from gradinc.records import summary
from gradinc.records.curves import AXES, GRID, NOTES, Points, average, curve, diagnostics, value_at
from gradinc.records.groups import RunGroup
from gradinc.records.statistics import estimate
from gradinc.studies.report.charts import chart
from gradinc.studies.report.document import Entry, Figure, ReportTable, Section
from gradinc.studies.report.subject import Page

SHARES = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Shares of the range at which the table shows the value."""

MOST_ENDS = 3
"""Largest number of runs of a setting in which the ends of tasks are looked up."""


def learning_section(page: Page) -> Section | None:
    """Score on the validation rows, and training loss; None if no log has either."""
    figures, tables = [], []
    measure = page.subject.measure
    for title, keys in ((f"validation {measure}", ("validation", measure)), ("training loss", ("train", "loss"))):
        for axis in AXES:
            figures += _figures(page, title, axis, keys, percent=keys[-1] == "accuracy")
        tables += _table(page, title, keys)
    notes = []
    if len(page.subject.runs) > 1:
        notes.append(
            "A line is the mean of a setting's runs, and the band is their range, as far as all runs have values."
        )
    if _task_ends(page, "samples") or any(run.value("result", "matrix") for run in page.subject.runs):
        notes.append("Validation uses the rows of the current task. A dotted line marks the end of a task.")
    notes.append(
        f"A log of more than {GRID} lines is divided into equal parts: the curve shows the mean of each, and its range."
    )
    return Section("Learning curves", notes, page.subject.legend, figures, tables=tables) if figures else None


def diagnostics_section(page: Page) -> Section | None:
    """The other numbers of the log, against updates; None if no log has any."""
    names = sorted({name for one in page.subject.settings for run in one.drawn for name in diagnostics(run)})
    figures = [figure for name in names for figure in _figures(page, name.replace("_", " "), "updates", (NOTES, name))]
    if not figures:
        return None
    note = "A value is the mean over the updates since the previous line of the log."
    return Section("Diagnostics", [note], page.subject.legend, figures, tables=[_diagnostics_table(page, names)])


def _diagnostics_table(page: Page, names: list[str]) -> ReportTable:
    """Return the mean of each diagnostic over the whole log, ± 95 % CI over a setting's runs."""
    rows = []
    for one in page.subject.styles:
        row = [Entry(one.name)]
        for name in names:
            columns = [column for run in one.drawn if (column := run.columns.get((NOTES, name))) is not None]
            found = estimate([fmean(column.values) for column in columns])
            half = f" ± {number_text(found.half)}" if found is not None and found.half is not None else ""
            row.append(Entry(number_text(found.mean if found else None) + half, found.mean if found else None))
        rows.append(row)
    return ReportTable("Diagnostics, means over the log ± 95 % CI", ["setting", *names], rows, folded=True)


def _curves(page: Page, axis: str, keys: tuple[str, ...]) -> dict[RunGroup, list[Points]]:
    return {one: [curve(run, axis, *keys) for run in one.drawn] for one in page.subject.settings}


def _figures(page: Page, title: str, axis: str, keys: tuple[str, ...], *, percent: bool = False) -> list[Figure]:
    curves = {one: found for one, found in _curves(page, axis, keys).items() if any(found)}
    lines = page.subject.lines(curves)
    if not any(line.points for line in lines):
        return []
    picture = chart(page.numbers, title, lines, axis, percent=percent, marks=_task_ends(page, axis))
    return [Figure(picture, f"{title} against {axis}")] if picture else []


def _task_ends(page: Page, axis: str) -> list[float]:
    """Return the places where tasks end, if all curves share them."""
    ends = set()
    for run in (run for one in page.subject.shown for run in one.drawn[:MOST_ENDS]):
        points = curve(run, axis, "task")
        ends.add(tuple(x for (x, task), (_, following) in pairwise(points) if following > task))
    ends.discard(())  # trained on all tasks together, or on one
    return list(ends.pop())[:40] if len(ends) == 1 else []


def _table(page: Page, title: str, keys: tuple[str, ...]) -> list[ReportTable]:
    rows = []
    for one in page.subject.styles:
        points, _ = average([curve(run, "samples", *keys) for run in one.drawn])
        if points:
            places = [share * points[-1][0] for share in SHARES]
            values = [value_at(points, x) if x >= points[0][0] else None for x in places]
            texts = [summary.score_text(v, "accuracy") if keys[-1] == "accuracy" else number_text(v) for v in values]
            rows.append([Entry(one.name), Entry(count_text(points[-1][0])), *map(Entry, texts)])
    head = ["setting", "samples", *(f"at {share:.0%}" for share in SHARES)]
    return [ReportTable(f"{title} at shares of the samples", head, rows, folded=True)] if rows else []
