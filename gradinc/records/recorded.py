"""A recorded run directory: its config, its result and its state."""

from __future__ import annotations

import hashlib
import math
import os
import re
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import nan
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from gradinc.base.errors import UserError
from gradinc.base.files import open_plain
from gradinc.config.identity import document_digest
from gradinc.config.protocol import recorded_protocol
from gradinc.config.yaml_size import LOADER, check_yaml_size
from gradinc.records.lock import is_held
from gradinc.records.log import read_lines
from gradinc.records.schemas import ENDED, read_json, read_result
from gradinc.records.seal import SEAL, check_seal

SCORES = {"perplexity": False, "accuracy": True, "mse": False}
"""The measures for comparing runs, whether higher is better for each; a run's first one counts."""

STATUSES = ("finished", "running", "interrupted", "unfinished", "diverged", "failed", "damaged")

POSITIONS = ("step", "samples", "rows", "passes")
"""Keys of a log line with the position in training."""


class LoggedNumbers(NamedTuple):
    """The numbers under one key of a log.

    Attributes:
        places: for each of `POSITIONS` the value of every line of the log; NaN if missing.
        lines: the lines with a number under the key, from 0.
        values: these numbers.
    """

    places: list[array[float]]
    lines: array[int]
    values: array[float]


_ID = re.compile(r"[0-9a-f]{32}")

_DEEPEST = 30
"""Levels of a document that are read; a run writes no deeper levels."""


@dataclass(frozen=True, eq=False)
class RecordedRun:
    """One run directory. Its content is untrusted: read numbers with `number`.

    Attributes:
        path: the directory, as it was given.
        status: one of `STATUSES`; ``damaged`` if ``config.yaml`` or ``result.json`` cannot be read, if the config is
            not the one that the run was started with, or if the files do not match the run's seal.
        config: ``config.yaml``, empty if unreadable or another run's.
        result: ``result.json``, empty if missing or if the run is damaged.
        meta: ``meta.json``, empty if missing or invalid.
        damage: the file of a damaged run and what is wrong with it; None otherwise.
    """

    path: Path
    status: str
    config: Mapping[str, Any]
    result: Mapping[str, Any]
    meta: Mapping[str, Any]
    damage: tuple[str, str] | None = None

    @classmethod
    def open(cls, path: Path) -> RecordedRun:
        """Read a run directory; unreadable files make it a damaged run, never an error."""
        config, result = _read_config(path / "config.yaml"), _shallow(read_result(path / "result.json"))
        meta = _shallow(read_json(path / "meta.json")) or {}
        wrong = check_seal(result or {}, path)
        if "meta.json" in wrong:
            meta = {}
        elif config is not None and "identity" in meta and not _is_config_of(meta["identity"], config):
            config, wrong = {}, {"config.yaml": "is not the config that the run was started with"}
        if config is None:
            wrong = {"config.yaml": "is missing or cannot be read"}
        elif result is None and os.path.lexists(path / "result.json"):
            wrong = {"result.json": "was changed after it was sealed, or cannot be read"}
        status = "damaged" if wrong else _status(path, result)
        damage = next(iter(wrong.items()), None)
        if damage is None and status == "damaged":
            damage = "result.json", "has an unknown status"
        return cls(path, status, config or {}, _comparable(result or {}) if damage is None else {}, meta, damage)

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name or self.path.resolve().name

    @property
    def id(self) -> str:
        """The run's id in trackers: of this directory's run alone, through all its starts."""
        found = str(self.meta.get("id"))  # runs of older versions have none
        known = (
            found if _ID.fullmatch(found) else repr((self.name, self.meta.get("identity"), self.meta.get("segments")))
        )
        return hashlib.sha256(known.encode()).hexdigest()[:32]

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of ``metrics.jsonl``, up to the first that is not a JSON object."""
        return list(read_lines(self.path / "metrics.jsonl"))

    @cached_property
    def columns(self) -> dict[tuple[str, ...], LoggedNumbers]:
        """The numbers of ``metrics.jsonl`` by their keys: ``("train", "loss")``, ``("lr",)``."""
        return _read_columns(self.path / "metrics.jsonl")

    @cached_property
    def timing(self) -> list[dict[str, Any]]:
        """The lines of ``timing.jsonl``, up to the first that is not a JSON object."""
        return list(read_lines(self.path / "timing.jsonl"))

    @property
    def log_is_whole(self) -> bool:
        """Return whether ``metrics.jsonl`` can be read up to the last update of a finished run."""
        steps = self.number("result", "steps")
        if self.status != "finished" or steps is None:
            return True
        if "metrics" in self.__dict__:  # already read: reading it takes the longest
            return bool(self.metrics) and finite(self.metrics[-1].get(POSITIONS[0])) == steps
        column = next(iter(self.columns.values()), None)
        return column is not None and column.places[0][-1] == steps

    @property
    def unsealed(self) -> bool:
        """Return whether it has ended without a seal that identifies its final files."""
        return self.status in ENDED and SEAL not in self.result

    @property
    def measure(self) -> str | None:
        """The measure for comparing the run, a key of `SCORES`; None if nothing was measured."""
        for part in ("test", "validation"):
            for name in SCORES:
                if self.number("result", part, name) is not None:
                    return name
        return None

    @property
    def part(self) -> str:
        """The rows of its result: ``test``, or ``validation`` for a run that never uses test rows."""
        return "validation" if self.value("config", "evaluate", "rows") == "validation" else "test"

    @property
    def protocol(self) -> str | None:
        """The recorded protocol of a run on a stream of tasks: ``class-incremental``."""
        found = recorded_protocol(self.value("result", "protocol")) or recorded_protocol(
            self.value("meta", "data", "protocol")
        )
        return None if found is None else str(found)

    @property
    def score(self) -> float | None:
        """The measure on the test rows."""
        return None if self.measure is None else self.number("result", "test", self.measure)

    @property
    def last_written(self) -> float | None:
        """Time of the run's last record, in seconds since 1970."""
        times = []
        for name in ("result.json", "metrics.jsonl", "config.yaml"):
            try:
                times.append((self.path / name).stat().st_mtime)
            except OSError:
                continue
        return max(times, default=None)

    def value(self, part: str, *keys: str) -> Any:
        """Return the value under the keys in ``config``, ``result`` or ``meta``, or None."""
        node: Any = getattr(self, part)
        for key in keys:
            node = node.get(key) if isinstance(node, Mapping) else None
        return node

    def number(self, part: str, *keys: str) -> float | None:
        """Return the finite number under the keys, or None."""
        return finite(self.value(part, *keys))


def _comparable(record: dict[str, Any]) -> dict[str, Any]:
    """Return a result or a log line without ``passes`` from before rows were counted: they were calls of the model."""
    if "passes" in record and "rows" not in record:
        return {key: value for key, value in record.items() if key != "passes"}
    return record


def finite(value: Any) -> float | None:
    """Return the value if it is a finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # an integer too large for a float
        return None


def _read_columns(path: Path) -> dict[tuple[str, ...], LoggedNumbers]:
    """Return the numbers of a log by their keys. Logs are long: this loop takes most of a report's time."""
    columns: dict[tuple[str, ...], LoggedNumbers] = {}
    places = [array("d") for _ in POSITIONS]
    for index, line in enumerate(read_lines(path)):
        line = _comparable(line)
        for key, place in zip(POSITIONS, places, strict=True):
            found = finite(line.get(key))
            place.append(nan if found is None else found)
        for key, value in line.items():
            if key in POSITIONS:
                continue
            for name, number in value.items() if type(value) is dict else (("", value),):
                found = number if type(number) is float and number - number == 0.0 else finite(number)
                if found is not None:
                    column = columns.get((key, name))
                    if column is None:
                        column = columns[key, name] = LoggedNumbers(places, array("l"), array("d"))
                    column.lines.append(index)
                    column.values.append(found)
    return {(keys if keys[1] else keys[:1]): column for keys, column in columns.items()}


def _read_config(path: Path) -> dict[str, Any] | None:
    try:
        check_yaml_size(path)
        with open_plain(path) as file:
            document = yaml.load(file.read().decode(), Loader=LOADER)
    except (UserError, OSError, ValueError, yaml.YAMLError, RecursionError):
        return None
    readable = isinstance(document, dict) and all(isinstance(key, str) for key in document)
    return _shallow(document) if readable else None


def _is_config_of(identity: Any, config: dict[str, Any]) -> bool:
    """Return whether a run of this identity was started with this config."""
    try:
        return document_digest(config) == identity
    except (UserError, TypeError, ValueError, AttributeError):  # dates, or values instead of sections
        return False


def _shallow(document: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the document, or None if it is too deep to be read."""
    level: list[Any] = [document]
    for _ in range(_DEEPEST):
        below = [list(node.values()) if isinstance(node, dict) else node for node in level]
        level = [item for node in below if isinstance(node, list) for item in node if isinstance(item, dict | list)]
        if not level:
            return document
    return None


def _status(path: Path, result: Mapping[str, Any] | None) -> str:
    status = str(result["status"]) if result else "unfinished"
    if status == "finished":
        return status
    if is_held(path):
        return "running"
    return status if status in STATUSES else "damaged"
