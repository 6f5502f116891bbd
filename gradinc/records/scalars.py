"""A run's log as single numbers, for other programs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gradinc.records.curves import NOTES, Clock
from gradinc.records.recorded import RecordedRun, finite


class Scalar(NamedTuple):
    """One number of a log.

    Attributes:
        name: name of the number: ``train/loss``, ``validation/accuracy``, ``notes/gradient_norm``, ``row/task 1``,
            ``lr``.
        value: the number.
        step: its update.
        time: time of writing, in seconds since 1970; 0 if not recorded.
    """

    name: str
    value: float
    step: int
    time: float


_PARTS = ("train", "validation", "test", NOTES)
"""Sections of a log line whose numbers are exported."""

_ROWS = ("row", "task_row", "loss_row", "bits_row")
"""Accuracies and losses on each task, measured after a task."""


def scalars(run: RecordedRun) -> Iterator[Scalar]:
    """Yield all numbers of ``metrics.jsonl``, in its order."""
    clock = Clock(run, "clock")
    for line in run.metrics:
        step = finite(line.get("step"))
        if step is None:
            continue
        time = clock.at(step) or 0.0
        for name, value in _numbers(line):
            yield Scalar(name, value, int(step), time)


def _numbers(line: dict[str, object]) -> Iterator[tuple[str, float]]:
    named: list[tuple[str, object]] = [("lr", line.get("lr"))]
    for part in _PARTS:
        section = line.get(part)
        named += [(f"{part}/{key}", value) for key, value in section.items()] if isinstance(section, dict) else []
    for part in _ROWS:
        row = line.get(part)
        measured = row.items() if isinstance(row, dict) else enumerate(row) if isinstance(row, list) else ()
        named += [(f"{part}/task {int(task) + 1}", value) for task, value in measured if str(task).isdecimal()]
    for name, value in named:
        number = finite(value)
        if number is not None:
            yield name, number
