"""The trials of a search. Most of them have a score but no result."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradinc.base.text import NONE
from gradinc.config.names import short
from gradinc.config.names import shown as written
from gradinc.records.recorded import finite
from gradinc.records.schemas import read_json
from gradinc.records.seal import CHANGED, SEAL, check_seal, is_intact
from gradinc.records.search import SEARCH_FILE
from gradinc.studies.report.document import Entry, ReportTable, Section
from gradinc.studies.report.subject import Page, Subject

STATES = ("complete", "pruned", "fail", "running")
"""States of a trial, in the order of the list."""


def searches(subject: Subject) -> dict[Path, Mapping[str, Any]]:
    """Return the records of the searches with these runs, without searches that have no trials."""
    folders = sorted({run.path.parent for run in subject.runs})
    records = {folder: read_json(folder / SEARCH_FILE) or {} for folder in folders}
    return {folder: record for folder, record in records.items() if is_intact(record) and _trials(record)}


def search_doubts(subject: Subject) -> list[str]:
    """Sentences about the records of searches that are damaged or have no seal."""
    said = []
    for folder in sorted({run.path.parent for run in subject.runs}):
        record = read_json(folder / SEARCH_FILE) or {}
        if not is_intact(record):
            said.append(f"{folder.name}/{SEARCH_FILE} {CHANGED}: its trials are not shown.")
            continue
        if SEAL not in record and _trials(record):
            which = f"{folder.name}/{SEARCH_FILE} is unsealed (of a version that did not seal searches)"
            said.append(f"{which}: damage may go unnoticed.")
        wrong = check_seal(record, folder, growing=True)
        said += [f"{folder.name}/{name} {what}." for name, what in wrong.items()]
    return said


def search_section(page: Page) -> Section | None:
    """Every trial with its values and its score, and the command that the search was for; None without a search."""
    found = searches(page.subject)
    if not found:
        return None
    notes = [f"Trials of {folder.name} are scored on {judged_by(record)}." for folder, record in found.items()]
    notes.append(
        "A pruned trial was stopped early because other trials were better; its score is of that moment. No trial uses "
        "test rows."
    )
    tables = [_table(folder, record) for folder, record in found.items()]
    commands = [
        (f"command with the best values of {folder.name}", text)
        for folder, record in found.items()
        if (text := _next(record))
    ]
    return Section("Search", notes, tables=tables, listings=commands)


def judged_by(record: Mapping[str, Any]) -> str:
    """Return the rows that the trials are scored on, in words."""
    judged = record.get("judged_by")
    return str(judged.get("what")) if isinstance(judged, Mapping) else NONE


def best_score(record: Mapping[str, Any]) -> float | None:
    """The score of the best trial."""
    best = record.get("best")
    return finite(best.get("score")) if isinstance(best, Mapping) else None


def _table(folder: Path, record: Mapping[str, Any]) -> ReportTable:
    trials = sorted(_trials(record), key=_place)
    keys = list(dict.fromkeys(key for trial in trials for key in trial["values"]))
    rows = []
    for trial in trials:
        number, score = finite(trial.get("number")), finite(trial.get("score"))
        values = [trial["values"].get(key) for key in keys]
        rows.append(
            [
                Entry(NONE if number is None else f"{number + 1:.0f}", number),
                *(Entry(written(value), finite(value)) for value in values),
                Entry(NONE if score is None else f"{score:.4f}", score),
                Entry(str(trial.get("state"))),
            ]
        )
    return ReportTable(
        f"Trials of {folder.name}", ["trial", *(short(key, keys) for key in keys), "score", "state"], rows
    )


def _place(trial: Mapping[str, Any]) -> tuple[int, float, float]:
    """Return the trials that finished before the others, and the best trial so far of each kind."""
    state, score = trial.get("state"), finite(trial.get("score"))
    rank = STATES.index(state) if state in STATES else len(STATES)
    return rank, 0.0 if score is None else -score, finite(trial.get("number")) or 0.0


def _trials(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    listed = record.get("trials")
    found = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, list) else []
    return [each for each in found if isinstance(each.get("values"), Mapping)]


def _next(record: Mapping[str, Any]) -> str | None:
    best = record.get("best")
    words = best.get("run") if isinstance(best, Mapping) else None
    return shlex.join(["gradinc", "train", *map(str, words)]) + "\n" if isinstance(words, list) else None
