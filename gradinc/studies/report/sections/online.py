"""Online accuracy: each row of the stream is predicted before it is trained on."""

from __future__ import annotations

from statistics import fmean

from gradinc.base.text import NONE
from gradinc.records.curves import GRID, Points
from gradinc.records.groups import RunGroup
from gradinc.records.online import are_errors, mean_of_tasks, online_curves
from gradinc.records.statistics import estimate
from gradinc.records.summary import metric_shown
from gradinc.studies.report.charts import chart
from gradinc.studies.report.document import Entry, Figure, ReportTable, Section
from gradinc.studies.report.subject import Page

_SHARES = {"all tasks": (0.0, 1.0), "first tenth": (0.0, 0.1), "last tenth": (0.9, 1.0)}


def online_section(page: Page) -> Section | None:
    """The online measure of each task, of all settings; None if no run has two tasks or more."""
    subject = page.subject
    curves = online_curves(subject.settings)
    if not curves:
        return None
    losses = are_errors(curves)
    title, measure = ("online MSE", "mse") if losses else ("online accuracy", "accuracy")
    lines = subject.with_places({one: mean_of_tasks(found, errors=losses) for one, found in curves.items()})
    tasks = max(int(x) for found in curves.values() for points in found for x, _ in points)
    ticks = [(float(task), str(task)) for task in range(1, tasks + 1)] if tasks <= GRID else []
    picture = chart(page.numbers, title, lines, "task", percent=not losses, ticks=ticks)
    notes = [
        f"The {title} of a task is the mean over its rows, each predicted by the forward pass of its own step, "
        "before the update. It needs no evaluation. Replayed rows do not count.",
        "A line is the mean of a setting's runs, and the band is its 95 % CI (Student); a single run has no band. "
        f"More than {GRID} tasks are divided into equal parts, and a point is the mean of a part.",
    ]
    figure = Figure(picture, f"{title} of each task, before its rows are trained on")
    return Section("Online learning", notes, subject.legend, [figure], tables=[_table(title, curves, measure)])


def _table(title: str, curves: dict[RunGroup, list[Points]], measure: str) -> ReportTable:
    rows = []
    for one, found in curves.items():
        entries = [Entry(one.name), Entry(str(len(found)), len(found))]
        for low, high in _SHARES.values():
            mean = estimate([_over(points, low, high) for points in found])
            assert mean is not None
            half = NONE if mean.half is None else metric_shown(measure, mean.half).removeprefix("MSE ")
            entries += [Entry(metric_shown(measure, mean.mean), mean.mean), Entry(half, mean.half)]
        rows.append(entries)
    head = ["setting", "runs", *(text for name in _SHARES for text in (name, "±"))]
    return ReportTable(title, head, rows)


def _over(points: Points, low: float, high: float) -> float:
    """Return the mean over the tasks between two shares of their number, of one task at least."""
    first = min(int(low * len(points)), len(points) - 1)
    return fmean(y for _, y in points[first : max(first + 1, round(high * len(points)))])
