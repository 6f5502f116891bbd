"""Results: settings with their intervals, and every run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial

from gradinc.base.text import NONE, count_text, duration_text, number_text
from gradinc.config.names import short
from gradinc.records import summary
from gradinc.records.groups import RunGroup
from gradinc.records.keys import MISSING, settings
from gradinc.records.recorded import RecordedRun
from gradinc.records.statistics import estimate
from gradinc.studies.report.document import Entry, ReportTable, Section
from gradinc.studies.report.subject import Page, Subject

Shown = Callable[[float | None], str]

_COUNTS: dict[str, tuple[str, Shown]] = {
    "samples": ("samples", count_text),
    "updates": ("steps", count_text),
    "rows": ("rows", count_text),
    "passes": ("passes", count_text),
    "time": ("seconds", duration_text),
}
"""Costs of a run: the key of its result, and its format."""


def settings_section(page: Page) -> Section | None:
    """The settings, the best first; None if each setting has one run, since the table of runs has the same rows."""
    subject = page.subject
    if len(subject.settings) == len([run for run in subject.runs if run.config]) or len(subject.runs) < 2:
        return None
    heads = [short(key, subject.keys) for key in subject.keys] or ["setting"]
    rows = [_setting_row(subject, one) for one in subject.ranked]
    note = (
        "A setting is a set of runs that differ only in the seed. Its score is the mean of its finished runs ± 95 % CI "
        "(Student); a single run has no interval. The other numbers are means ± 95 % CI too. In figures, intervals of "
        "shares are cut at 0 and 100 %."
    )
    table = ReportTable(
        "Settings", [*heads, "runs", subject.score_name, "± 95 % CI", *_measures(subject.runs), *_COUNTS], rows
    )
    return Section("Settings", [note], tables=[table])


def _setting_row(subject: Subject, one: RunGroup) -> list[Entry]:
    found = one.score(subject.measure)
    names = [Entry(value) for value in one.values.values()] or [Entry(one.name)]
    count = f"{len(one.finished)} of {len(one.runs)}" if len(one.finished) < len(one.runs) else str(len(one.runs))
    half = found.half if found else None
    scored = [
        Entry(count, len(one.finished)),
        Entry(summary.score_text(found.mean if found else None, subject.measure), found.mean if found else None),
        Entry(summary.score_text(half, subject.measure).removeprefix("MSE ").removeprefix("perplexity "), half),
    ]
    kept = [_mean_cell(one, "metrics", name, show=partial(_metric, name)) for name in _measures(subject.runs)]
    return [*names, *scored, *kept, *(_mean_cell(one, key, show=show) for key, show in _COUNTS.values())]


def _metric(name: str, value: float | None) -> str:
    return NONE if value is None else summary.metric_shown(name, value)


def _mean_cell(one: RunGroup, *keys: str, show: Shown) -> Entry:
    values = [value for run in one.finished if (value := run.number("result", *keys)) is not None]
    found = estimate(values)
    value = found.mean if found else None
    half = f" ± {show(found.half)}" if found is not None and found.half else ""
    return Entry(show(value) + half, value)


def runs_section(page: Page) -> Section:
    """Every run with its result, in the order of names; if each setting has one run, the best first."""
    subject = page.subject
    several = len(subject.settings) < len(subject.runs)
    runs = subject.runs if several else [run for one in subject.ranked for run in one.runs]
    keys = [*(["seed"] if len({settings(run).get("seed") for run in subject.runs}) > 1 else []), *subject.keys]
    head = ["run", "status", *(short(key, keys) for key in keys), subject.score_name, "loss"]
    named = Counter(run.name for run in subject.runs)
    rows = [_run_row(subject, run, keys, path=named[run.name] > 1) for run in runs]
    return Section("Runs", tables=[ReportTable("Runs", [*head, *_measures(subject.runs), *_COUNTS], rows)])


def _run_row(subject: Subject, run: RecordedRun, keys: Sequence[str], *, path: bool) -> list[Entry]:
    values, score = settings(run), run.number("result", run.part, subject.measure)
    loss = run.number("result", run.part, "loss")
    row = [
        Entry(str(run.path) if path else run.name),
        Entry(run.status),
        *(Entry(values.get(key, MISSING)) for key in keys),
    ]
    row += [Entry(summary.score_text(score, subject.measure), score), Entry(number_text(loss), loss)]
    for name in _measures(subject.runs):
        value = run.number("result", "metrics", name)
        row.append(Entry(summary.metric_text(run, "metrics", name), value))
    for key, show in _COUNTS.values():
        value = run.number("result", key)
        row.append(Entry(show(value), value))
    return row


def _measures(runs: Sequence[RecordedRun]) -> list[str]:
    """Return the measures of the accuracy matrix that at least one run has."""
    return [name for name in summary.MEASURES if any(run.number("result", "metrics", name) is not None for run in runs)]
