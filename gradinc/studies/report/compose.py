"""The composition of a report from runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from gradinc.base.errors import UserError
from gradinc.base.text import count_text, duration_text
from gradinc.records import summary
from gradinc.records.recorded import STATUSES, RecordedRun, finite
from gradinc.studies.report.document import Report
from gradinc.studies.report.sections.learning import diagnostics_section, learning_section
from gradinc.studies.report.sections.online import online_section
from gradinc.studies.report.sections.outcome import runs_section, settings_section
from gradinc.studies.report.sections.provenance import config_section, mixed, provenance_section
from gradinc.studies.report.sections.search import best_score, judged_by, search_doubts, search_section, searches
from gradinc.studies.report.sections.sweep import sweep_section
from gradinc.studies.report.sections.tasks import tasks_section
from gradinc.studies.report.subject import Page, Subject
from gradinc.studies.report.svg import Numbers


def compose(title: str, runs: Sequence[RecordedRun], by: Sequence[str] = ()) -> Report:
    """Return the report of some runs: a function of their directories, so that the same runs give the same report.

    Args:
        by: the keys that make settings; by default all keys besides the seed in which the runs differ.

    Raises:
        UserError: no run can be read.
    """
    subject = Subject(title, sorted(runs, key=lambda run: (run.name, str(run.path))), by)
    if not subject.settings:
        what, fix = "has no run that can be read", "Run the run's own command again: it writes the missing files"
        damaged = next((run for run in subject.runs if run.damage is not None), None)
        if damaged is not None and damaged.damage is not None:
            what += f": in {damaged.name} {' '.join(damaged.damage)}"
        raise UserError(title, what, fix)
    page = Page(subject, Numbers())
    settings = settings_section(page)
    every = runs_section(page) if len(runs) > 1 else None
    sections = [
        search_section(page),
        settings or every,
        sweep_section(page),
        learning_section(page),
        online_section(page),
        tasks_section(page),
        diagnostics_section(page),
        every if settings else None,
        config_section(page),
        provenance_section(page),
    ]
    return Report(title, _facts(subject), _warnings(subject), [s for s in sections if s], subject.legend)


def _facts(subject: Subject) -> list[tuple[str, str]]:
    if len(subject.runs) == 1:
        results = [(name, values[0]) for name, values in summary.results_of(list(subject.runs)).items()]
        return [*results, *_data_facts(subject)]
    best = subject.ranked[0]
    found = best.score(subject.measure)
    facts = [("runs", f"{len(subject.runs):,}"), ("settings", f"{len(subject.settings):,}")]
    for folder, record in searches(subject).items():
        if (score := best_score(record)) is not None:
            facts.append((f"best trial of {folder.name}", f"score {score:.4f}, on {judged_by(record)}"))
    if found is not None:
        mean = "" if found.count == 1 else f", mean of {found.count} runs"
        facts.append((f"best {subject.score_name}{mean}", summary.score_text(found.mean, subject.measure)))
        facts.append(("best setting", best.name))
    seconds = [value for run in subject.runs if (value := run.number("result", "seconds")) is not None]
    facts += _data_facts(subject)
    return [*facts, ("total time", duration_text(sum(seconds) if seconds else None))]


def _data_facts(subject: Subject) -> list[tuple[str, str]]:
    """Return the number of classes and the numbers of rows of each data set."""
    found: dict[str, None] = {}
    for run in subject.runs:
        data = run.meta.get("data")
        data = data if isinstance(data, Mapping) else {}
        rows, classes = data.get("rows"), data.get("classes")
        parts = [str(data["name"])] if "name" in data else []
        parts += [f"{len(classes)} classes"] if isinstance(classes, list) else []
        counts = [f"{count_text(finite(n))} {part}" for part, n in rows.items()] if isinstance(rows, Mapping) else []
        parts += [f"rows: {', '.join(counts)}"] if counts else []
        found["; ".join(parts)] = None
    return [("data", text) for text in list(found)[:3] if text]


def _warnings(subject: Subject) -> list[str]:
    counts = Counter(run.status for run in subject.runs)
    states = [f"{counts[status]} {status}" for status in STATUSES if status != "finished" and counts[status]]
    sentences = []
    if states:
        averaged = " Only finished runs are averaged." if len(subject.runs) > 1 else ""
        stopped = (
            " A search stops a trial once it has a score, or if other trials are better." if searches(subject) else ""
        )
        sentences.append(f"Of {len(subject.runs)} runs, {', '.join(states)}.{averaged}{stopped}")
    sentences += [*summary.doubts(subject.runs), *search_doubts(subject)]
    cut = [run.name for run in subject.runs if not run.log_is_whole]
    if cut:
        more = f" and of {len(cut) - 1} more" if len(cut) > 1 else ""
        sentences.append(f"The log of {cut[0]}{more} is damaged (metrics.jsonl): curves end at the damage.")
    if len({run.measure for run in subject.runs if run.measure}) > 1:
        sentences.append(f"Some runs have no {subject.measure}: classification and regression are not compared.")
    if len(subject.runs) > 1:
        sentences += mixed(subject.runs)
    return sentences
