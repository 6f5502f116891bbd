"""Schemas of a run's JSON records, checked before use: a directory may contain anything."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Len
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from gradinc.base.files import open_plain
from gradinc.config.values import Threads
from gradinc.records.seal import is_intact

LARGEST_RECORD = 64 << 20
"""Largest JSON document that is read, in bytes; the result of a stream of a thousand tasks has a third of this size."""

_Count = Annotated[int, Ge(0)]
_PackageName = Annotated[str, StringConstraints(pattern=r"\A\w{1,100}\z")]
Measures = dict[str, float]


class _Record(BaseModel):
    """A JSON object with at least these keys."""

    model_config = ConfigDict(extra="allow", strict=True)


class _Segment(_Record):
    """One start of a run."""

    threads: Threads


class _Data(_Record):
    """The part of a run's record of its data that is read again."""

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
    folders: list[_PackageName] = []


class _Search(_Record):
    """The search that found the values of a run."""

    mode: str
    judged_by: str


class _Finished(_Record):
    """``result.json`` of a finished run."""

    status: Literal["finished"]
    test: Measures | None
    validation: Measures | None
    ended_by: str
    samples: _Count
    steps: _Count
    passes: Annotated[float, Ge(0)]
    rows: Annotated[float, Ge(0)] = 0.0  # these three are newer; passes were calls before
    forward_rows: _Count = 0
    backward_rows: _Count = 0
    tokens: _Count = 0  # only data with tokens have them
    items: Annotated[float, Ge(0)] = 0.0
    seconds: Annotated[float, Ge(0)]
    peak_memory: Annotated[float, Ge(0)]
    search: _Search | None = None


class _Diverged(_Record):
    """``result.json`` of a run that stopped at a number that is not finite."""

    status: Literal["diverged"]
    diverged_at: _Count
    tensor: str


class _Judged(_Record):
    """The data that scored the trials of a search."""

    mode: Literal["validation", "other-data"]
    what: str


class _JudgedByTasks(_Record):
    """Scored on the first tasks of a stream, which leaves the other tasks for results."""

    mode: Literal["first-tasks"]
    what: str


class _Best(_Record):
    """The best values of a search."""

    score: float
    values: Annotated[dict[str, Any], Len(1)]


class _BestOfTasks(_Best):
    """The best values of a search, with the number of tasks that were not used for scoring."""

    scored_tasks: _Count


class _Trial(_Record):
    """One trial of a search."""

    score: float | None


class _Ended(_Record):
    """``tune.json`` of a finished search."""

    judged_by: _Judged
    best: _Best
    trials: list[_Trial]


class _EndedByTasks(_Record):
    """``tune.json`` of a finished search that scored on the first tasks."""

    judged_by: _JudgedByTasks
    best: _BestOfTasks
    trials: list[_Trial]


_ENDED: dict[str, type[_Record]] = {"finished": _Finished, "diverged": _Diverged}

ENDED = tuple(_ENDED)
"""States in which the same command has nothing left to do; in any other state the run's files still change."""


SWEEP_FILE = "sweep.json"
"""File in the folder of a sweep with a name."""


def is_run(path: Path) -> bool:
    """Return whether a directory is a run's, whatever the state of its files."""
    return any((path / name).is_file() for name in ("config.yaml", "meta.json"))


_TAIL = re.compile(r"-s\d+-[0-9a-f]{8}$")


def called_now(path: Path) -> Path | None:
    """Return the directory of a run that another version or another command called differently.

    The seed and the digest at the end of a name identify a run.
    """
    tail = _TAIL.search(path.name)
    if tail is None or not path.parent.is_dir():
        return None
    return next((run for run in sorted(path.parent.iterdir()) if run.name.endswith(tail[0]) and is_run(run)), None)


def read_json(path: Path) -> dict[str, Any] | None:
    """Return a JSON object from a file, or None if the file is missing or has other content."""
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
    """Return the content of a ``meta.json``, or None if it is missing or was not written by a run."""
    meta = read_json(path)
    return meta if meta is not None and _fits(_Meta, meta) else None


def read_result(path: Path) -> dict[str, Any] | None:
    """Return the content of a ``result.json``, or None if it is missing or was not written by a run."""
    result = read_json(path)
    if result is None or not isinstance(result.get("status"), str) or not is_intact(result):
        return None
    ended = _ENDED.get(result["status"])
    if ended is not None and not (_fits(ended, result) and _measured(result)):
        return None
    return result


def is_search(record: dict[str, Any]) -> bool:
    """Return whether a record is the final ``tune.json`` of a search."""
    return _fits(_Ended, record) or _fits(_EndedByTasks, record)


def _fits(kind: type[_Record], value: dict[str, Any]) -> bool:
    try:
        kind.model_validate(value)
    except ValidationError:
        return False
    return True


def _measured(result: dict[str, Any]) -> bool:
    """Return whether its measures are a classifier's or a regression's."""
    measures = [result.get(part) for part in ("test", "validation")]
    return all(not each or {"accuracy", "loss"} <= set(each) or {"mse", "r2"} <= set(each) for each in measures)
