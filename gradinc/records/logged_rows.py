"""A run's log as rows of numbers, for other programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from gradinc.records.curves import Clock
from gradinc.records.recorded import RecordedRun, finite
from gradinc.records.tracker import LoggedRow

_PLACES = ("task", "epoch", "samples", "rows", "passes", "tokens", "items")
"""Keys of a log line with the place in training; ``step`` is the row's own."""

_TASKS = ("row", "task_row", "loss_row", "bits_row")
"""Accuracies and losses on each task, measured after a task."""


def all_rows(run: RecordedRun) -> list[LoggedRow]:
    """Return all rows of a run: ``metrics.jsonl``, and the numbers of ``result.json`` if it has finished."""
    clock = Clock()
    clock.extend(run.timing, "clock")
    return as_rows([*run.metrics, *result_lines(run.result)], clock)


def as_rows(lines: Iterable[Mapping[str, Any]], clock: Clock) -> list[LoggedRow]:
    """Return the rows of log lines: the numbers of all lines of an update. The last number of a name counts."""
    known = (line for line in lines if finite(line.get("step")) is not None)
    rows = []
    for step, group in groupby(known, key=lambda line: int(line["step"])):
        values = {name: value for line in group for name, value in _numbers(line)}
        rows.append(LoggedRow(step, clock.at(step) or 0.0, values))
    return rows


def result_lines(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the numbers of a finished run's ``result.json`` as a log line at its last update."""
    if result.get("status") != "finished":
        return []
    found = {key: result.get(key) for key in ("seconds", "peak_memory")}
    for key, value in result.items():
        if isinstance(value, Mapping) and key not in ("seal", "search", "undefined"):
            section = "" if key == "metrics" else f"{key}/"
            found.update({f"{section}{name}": number for name, number in value.items()})
    return [{"step": result.get("steps"), "result": found}]


def _numbers(line: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    for key, value in line.items():
        for name, number in _named(key, value):
            if (found := finite(number)) is not None:
                yield name, found


def _named(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if key in _TASKS:
        measured = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
        yield from ((f"{key}/task {int(task) + 1}", number) for task, number in measured if str(task).isdecimal())
    elif isinstance(value, Mapping):
        yield from ((f"{key}/{name}", number) for name, number in value.items())
    elif key != "step":
        yield (f"place/{key}" if key in _PLACES else key), value
