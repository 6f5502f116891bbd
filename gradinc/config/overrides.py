"""One ``key=value`` of the command line, read by Hydra's grammar."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException

from gradinc.base.errors import UserError
from gradinc.config import catalog, groups
from gradinc.config.cluster import short_keys
from gradinc.config.documents import flat
from gradinc.config.implied import kinds_of
from gradinc.config.names import shown, written

TEXT_KEYS = ("name", "output", "init", "search", "data.root")
"""Keys whose value is used as it is written: ``name=007`` is not a number, and a path may contain brackets."""

KEY = re.compile(r"\w[\w-]*([./]\w[\w-]*)*")


MOST_RUNS = 100_000
"""Largest number of runs of one command."""


@dataclass(frozen=True)
class Assignment:
    """The key that one argument sets or deletes.

    Attributes:
        key: the key or the group, without a plus or a tilde.
        value: its new value.
        raw: the text after the equals sign, as Hydra's grammar has it.
        deletes: whether the key is deleted, if it has this value or `value` is None.
        sweep: the values, as they would be written, of an argument with several.
    """

    key: str
    value: Any
    raw: str
    deletes: bool = False
    sweep: tuple[str, ...] = ()

    @property
    def is_choice(self) -> bool:
        """Return whether it chooses files of a group, rather than setting keys."""
        return self.key in groups.GROUPS and not isinstance(self.value, dict)

    @property
    def leaves(self) -> list[str]:
        """The keys that it sets: several if its value is a section."""
        value = self.value
        return [key for key, _ in flat(value, f"{self.key}.")] if isinstance(value, dict) and value else [self.key]

    @property
    def text(self) -> str:
        """The argument, in a normal form."""
        return f"{self.key}={','.join(self.sweep)}" if self.sweep else written(self.key, self.value)


def parse(text: str, config_dirs: Sequence[Path] = ()) -> Assignment:
    """Read an argument. A leading plus changes nothing, because every key already has its place; an option
    of a cluster may be written without ``cluster.``.

    Raises:
        UserError: it is not of the form ``key=value``, cannot be read, or is not for gradinc.
    """
    bare = text.strip().lstrip("+")
    deletes = bare.startswith("~")
    key, equals, raw = bare.lstrip("~").partition("=")
    if key in short_keys():
        return parse(f"{'~' * deletes}cluster.{key}{equals}{raw}", config_dirs)
    if not key.strip() or not (equals or deletes):
        raise UserError(text.strip() or "''", "gradinc takes key=value", _meant(text.strip(), config_dirs))
    if "@" in key:
        group = key.partition("@")[0]
        raise UserError(key, "every group has one place", f"Write {group}=…")
    _check_hydra(key)
    if not KEY.fullmatch(key):
        raise UserError(key, "is not a key", "Keys are words with dots between them: see gradinc train --help")
    try:
        parsed = OverridesParser.create().parse_override(bare)
    except (HydraException, ValueError, RecursionError):
        if key in TEXT_KEYS and not deletes:
            return Assignment(key, raw, _quoted(raw))
        raise UserError(written(key, raw), "cannot be read", f"Put the value in quotes: \"{key}='…'\"") from None
    if parsed.is_sweep_override():
        return Assignment(key, None, raw, sweep=_swept(parsed, key, raw, config_dirs))
    value = parsed.value()
    if key in TEXT_KEYS and isinstance(value, bool | int | float):
        return Assignment(key, raw, _quoted(raw), deletes)
    return Assignment(key, value, raw, deletes)


def combinations(assignments: Iterable[Assignment], config_dirs: Sequence[Path] = ()) -> list[list[Assignment]]:
    """Return every combination of the swept values, with the last key varying fastest.

    Raises:
        UserError: there are too many combinations.
    """
    assignments = list(assignments)
    if (count := math.prod(len(assignment.sweep) or 1 for assignment in assignments)) > MOST_RUNS:
        swept = " ".join(assignment.key for assignment in assignments if assignment.sweep)
        raise UserError(swept, f"stand for {count:,} runs", f"Give fewer values, for {MOST_RUNS:,} runs at most")
    several = [
        [parse(f"{assignment.key}={value}", config_dirs) for value in assignment.sweep] or [assignment]
        for assignment in assignments
    ]
    return [list(each) for each in itertools.product(*several)]


def latest(assignments: Iterable[Assignment]) -> dict[str, Assignment]:
    """Return the assignments by key; the last assignment of a key counts."""
    return {assignment.key: assignment for assignment in assignments}


def check_choice(assignment: Assignment, config_dirs: Sequence[Path]) -> list[str]:
    """Return the names of the files that an assignment to a group chooses.

    Raises:
        UserError: a name is unknown or repeated, or the group takes only one name.
    """
    group, value = assignment.key, assignment.value
    if isinstance(value, list) and group != "strategy":
        raise UserError(written(group, value), f"takes one {group}", "Only strategy takes a list")
    if value is None and group == "experiment":
        return []
    names = groups.names(group, config_dirs)
    chosen = [shown(item) for item in (value if isinstance(value, list) else [value])]
    for name in chosen:
        if name not in names:
            for kind in kinds_of(group):
                catalog.refuse_unnamed(kind, name, written(group, name))
            raise UserError(written(group, name), "unknown", catalog.choose_part(name, names))
        if chosen.count(name) > 1:
            raise UserError(written(group, value), f"{name} is repeated", "Write each name once")
    return chosen


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _check_hydra(key: str) -> None:
    if key.split(".")[0].split("/")[0] == "hydra" and key != "hydra.mode":
        raise UserError(key, "gradinc runs the jobs itself and reads hydra.mode only", "Leave it out")


def _swept(parsed: Override, key: str, raw: str, config_dirs: Sequence[Path]) -> tuple[str, ...]:
    if not parsed.is_discrete_sweep():
        raise UserError(written(key, raw), "has endless values", "List them, or use range(start,stop,step)")
    parsed.config_loader = _GroupNames(config_dirs)  # type: ignore[assignment]
    _check_range(parsed.value(), written(key, raw))
    values = tuple(parsed.sweep_string_iterator())
    if not values:
        raise UserError(written(key, raw), "has no value", "Give at least one")
    return values


def _check_range(found: Any, where: str) -> None:
    """Refuse a range without a step or with too many values, before its values are created.

    Raises:
        UserError: the range is refused.
    """
    if isinstance(found, RangeSweep):
        start, stop, step = float(found.start or 0), float(found.stop or 0), float(found.step)
        if step == 0 or not math.isfinite(start + stop + step):
            raise UserError(where, "has endless values", "Use range(start,stop,step) with a step other than 0")
        if (stop - start) / step > MOST_RUNS:
            raise UserError(where, f"has more than {MOST_RUNS:,} values", "Give fewer")


class _GroupNames:
    """The methods of a loader that Hydra's ``glob(…)`` calls.

    Args:
        config_dirs: the user's configuration folders.
    """

    def __init__(self, config_dirs: Sequence[Path]) -> None:
        self.config_dirs = config_dirs

    def get_group_options(self, group: str, results_filter: object = None) -> list[str]:
        return groups.names(group, self.config_dirs)


def _meant(text: str, config_dirs: Sequence[Path]) -> str:
    """Return a suggestion for an argument without ``=``: a name in one of the groups."""
    found = [f"{group}={text}" for group in groups.GROUPS if text in groups.names(group, config_dirs)]
    return f"Did you mean {' or '.join(found)}?" if found else "See gradinc train --help"


def sweep_parameters(hydra: Mapping[str, Any]) -> list[str]:
    """Return ``hydra.sweeper.params`` as arguments of the command line."""
    parameters = (hydra.get("sweeper") or {}).get("params") or {}
    return [f"{key}={shown(value)}" for key, value in parameters.items()]


def refuse_sweeps(assignments: Iterable[Assignment]) -> None:
    """Refuse arguments with several values where only one run is possible.

    Raises:
        UserError: an argument has several values.
    """
    for assignment in assignments:
        if assignment.sweep:
            listed = ",".join(assignment.sweep)
            fix = f"Add -m to run each, or write {assignment.key}=[{listed}] for a list"
            raise UserError(assignment.text, "has several values", fix)
