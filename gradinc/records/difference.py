"""Differences between two runs: config, code, environment, data, and the first line where their logs differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from gradinc.config.names import shown
from gradinc.records.environment import ENVIRONMENT
from gradinc.records.keys import MISSING, flat, settings
from gradinc.records.recorded import RecordedRun


@dataclass(frozen=True)
class Difference:
    """One key with two values."""

    key: str
    first: str
    second: str


@dataclass(frozen=True)
class Parting:
    """The first difference between two logs.

    Attributes:
        line: number of the line, from 1.
        step: update that the line belongs to, in the first log that has it.
        key: the first key that differs; empty if one log has ended.
        first, second: the values in the two logs.
        before: update of the last line that is the same in both; None if there is none.
    """

    line: int
    step: int | None
    key: str
    first: str
    second: str
    before: int | None


@dataclass(frozen=True)
class Comparison:
    """All differences of two runs, by subject; a subject without differences has an empty list.

    Attributes:
        subjects: ``config``, ``code``, ``environment``, ``data`` and ``result``.
        parting: the first difference in ``metrics.jsonl``; None if the two logs are equal.
        lines: number of lines of the two logs.
    """

    subjects: dict[str, list[Difference]]
    parting: Parting | None
    lines: tuple[int, int]

    @property
    def same(self) -> bool:
        """Return whether the two runs agree in all subjects."""
        return self.parting is None and not any(self.subjects.values())


CODE = ("gradinc", "code", "commit", "plugins")
DATA = ("name", "digest", "rows", "shape", "outputs", "classes", "mean", "std")
_COUNTS = ("samples", "tokens", "items", "steps", "rows", "forward_rows", "backward_rows", "passes")
RESULT = ("status", "test", "validation", "ended_by", "epochs", *_COUNTS, "weights_digest")


def compare(first: RecordedRun, second: RecordedRun) -> Comparison:
    """Return all differences of two runs, except seconds, memory, process ids and commands."""
    subjects = {
        "config": _differences(settings(first), settings(second)),
        "code": _differences(_chosen(first.meta, CODE), _chosen(second.meta, CODE)),
        "environment": _differences(_environment(first), _environment(second)),
        "data": _differences(_chosen(first.meta.get("data"), DATA), _chosen(second.meta.get("data"), DATA)),
        "result": _differences(_chosen(first.result, RESULT), _chosen(second.result, RESULT)),
    }
    if subjects["result"] or first.status != second.status:
        states = _differences({"status": first.status}, {"status": second.status})
        subjects["result"] = [*states, *(d for d in subjects["result"] if d.key != "status")]
    return Comparison(subjects, parting(first.metrics, second.metrics), (len(first.metrics), len(second.metrics)))


def parting(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Parting | None:
    """Return the first line at which two logs differ, and the first key in it."""
    before = None
    for number, (one, other) in enumerate(zip_longest(first, second), start=1):
        if one == other:
            before = _step(one)
            continue
        step = _step(one if one is not None else other)
        if one is None or other is None:
            here, there = ("ends", "goes on") if one is None else ("goes on", "ends")
            return Parting(number, step, "", here, there, before)
        found = _differences(_text(one), _text(other)) or [Difference("", shown(one), shown(other))]
        return Parting(number, step, found[0].key, found[0].first, found[0].second, before)
    return None


def _step(line: Mapping[str, Any] | None) -> int | None:
    step = line.get("step") if line else None
    return step if isinstance(step, int) else None


def _environment(run: RecordedRun) -> dict[str, str]:
    """Return the environments of all starts of a run, with arrows for changes between starts."""
    segments = run.meta.get("segments")
    segments = [s for s in segments if isinstance(s, Mapping)] if isinstance(segments, list) else []
    known = {}
    for key in ENVIRONMENT:
        values = list(dict.fromkeys(shown(segment[key]) for segment in segments if key in segment))
        if values:
            known[key] = " → ".join(values)
    return known


def _chosen(node: Any, keys: tuple[str, ...]) -> dict[str, str]:
    return _text({key: node[key] for key in keys if key in node}) if isinstance(node, Mapping) else {}


def _text(node: Mapping[str, Any]) -> dict[str, str]:
    return {key: shown(value) for key, value in flat(node)}


def _differences(first: Mapping[str, str], second: Mapping[str, str]) -> list[Difference]:
    keys = dict.fromkeys([*first, *second])
    pairs = ((key, first.get(key, MISSING), second.get(key, MISSING)) for key in keys)
    return [Difference(*pair) for pair in pairs if pair[1] != pair[2]]
