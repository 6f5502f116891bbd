"""The JSON records of a run, looked at before they are believed: whoever made a directory may have written anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len
from pydantic import BaseModel, ConfigDict, ValidationError

from gradinc.base.files import open_plain
from gradinc.config.values import Threads
from gradinc.records.seal import is_intact

LARGEST_RECORD = 64 << 20
"""Bytes of a JSON document that is read at all; the result of a stream of a thousand tasks has a third of it."""

_Count = Annotated[int, Ge(0)]
Measures = dict[str, float]


class _Record(BaseModel):
    """A JSON object that has at least these keys."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Segment(_Record):
    """One start of a run."""

    threads: Threads


class _Data(_Record):
    """What a run wrote down of its data, as far as it is read again."""

    digest: str
    shape: Annotated[list[Annotated[int, Ge(1)]], Len(1, 3)]
    outputs: Annotated[int, Ge(1)]


class _Meta(_Record):
    """``meta.json``."""

    identity: str
    data: _Data
    segments: Annotated[list[_Segment], Len(1)]
    code: str
    plugins: dict[str, str] = {}


class _Search(_Record):
    """What found the values that a run was started with."""

    mode: str
    judged_by: str


class _Finished(_Record):
    """``result.json`` of a run that came to its end."""

    status: Literal["finished"]
    test: Measures | None
    validation: Measures | None
    ended_by: str
    samples: _Count
    steps: _Count
    passes: Annotated[float, Ge(0)]
    rows: Annotated[float, Ge(0)] = 0.0  # these three are younger, and passes were calls before
    forward_rows: _Count = 0
    backward_rows: _Count = 0
    seconds: Annotated[float, Ge(0)]
    peak_memory: Annotated[float, Ge(0)]
    search: _Search | None = None


class _Diverged(_Record):
    """``result.json`` of a run that met a number that is not finite."""

    status: Literal["diverged"]
    diverged_at: _Count
    tensor: str


class _Judged(_Record):
    """By what the trials of a search were judged."""

    mode: Literal["validation", "other-data"]
    what: str


class _JudgedByTasks(_Record):
    """By the first tasks of a stream, so that the others are left."""

    mode: Literal["first-tasks"]
    what: str


class _Best(_Record):
    """What a search has found."""

    score: float
    values: Annotated[dict[str, Any], Len(1)]


class _BestOfTasks(_Best):
    """The same, with how many tasks had no say in it."""

    scored_tasks: _Count


class _Trial(_Record):
    """One trial of a search."""

    score: float | None


class _Ended(_Record):
    """``tune.json`` of a search that has ended."""

    judged_by: _Judged
    best: _Best
    trials: list[_Trial]


class _EndedByTasks(_Record):
    """The same, where the first tasks had a say."""

    judged_by: _JudgedByTasks
    best: _BestOfTasks
    trials: list[_Trial]


_ENDED: dict[str, type[_Record]] = {"finished": _Finished, "diverged": _Diverged}

ENDED = tuple(_ENDED)
"""States in which the same command has nothing left to do; in any other one the run's files go on changing."""


def is_run(path: Path) -> bool:
    """Whether a directory is that of a run, whatever has become of its files."""
    return any((path / name).is_file() for name in ("config.yaml", "meta.json"))


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None where there is no such file or it is not one."""
    try:
        with open_plain(path) as file:
            text = file.read(LARGEST_RECORD + 1)
        if len(text) > LARGEST_RECORD:
            return None
        value = json.loads(text.decode())
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def read_meta(path: Path) -> dict[str, Any] | None:
    """The content of a ``meta.json``, or None where there is none that a run has written."""
    meta = read_json(path)
    return meta if meta is not None and _fits(_Meta, meta) else None


def read_result(path: Path) -> dict[str, Any] | None:
    """The content of a ``result.json``, or None where there is none as a run has written it."""
    result = read_json(path)
    if result is None or not isinstance(result.get("status"), str) or not is_intact(result):
        return None
    ended = _ENDED.get(result["status"])
    if ended is not None and not (_fits(ended, result) and _measured(result)):
        return None
    return result


def is_search(record: dict[str, Any]) -> bool:
    """Whether that is what a search writes into its ``tune.json`` at its end."""
    return _fits(_Ended, record) or _fits(_EndedByTasks, record)


def _fits(kind: type[_Record], value: dict[str, Any]) -> bool:
    try:
        kind.model_validate(value)
    except ValidationError:
        return False
    return True


def _measured(result: dict[str, Any]) -> bool:
    """Whether its measures are those of a classifier or of a regression."""
    measures = [result.get(part) for part in ("test", "validation")]
    return all(not each or {"accuracy", "loss"} <= set(each) or {"mse", "r2"} <= set(each) for each in measures)
