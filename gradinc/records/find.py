"""Run directories from arguments of the command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gradinc.base.errors import UserError
from gradinc.config.names import choose
from gradinc.records.recorded import RecordedRun
from gradinc.records.schemas import SWEEP_FILE, called_now, is_run, read_json

_DIGEST = re.compile(r"[0-9a-f]{4,8}")


def find_runs(arguments: Sequence[str], output: str = "outputs") -> list[RecordedRun]:
    """Return the runs that the arguments name, without repetition, in the order of the arguments and then of names.

    An argument is the path of a run or its name under `output`; a directory of runs or of named sweeps; a pattern like
    ``outputs/digits-*``; the beginning of names; the digits at the end of a run's name; or a JSON file that lists runs
    under ``runs``, such as a table's.

    Raises:
        UserError: an argument names no run.
    """
    found: dict[Path, RecordedRun] = {}
    for argument in arguments:
        paths = _paths(argument, Path(output))
        if not paths:
            raise _nothing(argument, Path(output))
        for path in paths:
            found.setdefault(path.resolve(), RecordedRun.open(path))
    return list(found.values())


def found_and_chosen(arguments: Sequence[str], output: str = "outputs") -> list[RecordedRun]:
    """Return the runs that the arguments name and that meet the conditions among them; only conditions: all runs.

    Raises:
        UserError: an argument names no run and is no condition.
    """
    from gradinc.records.query import conditions, is_condition

    named = [argument for argument in arguments if not is_condition(argument) or _paths(argument, Path(output))]
    wanted = [argument for argument in arguments if argument not in named]
    runs = find_runs(named, output) if named or not wanted else runs_under(Path(output))
    checked = conditions(wanted, runs)
    return [run for run in runs if all(condition.holds(run) for condition in checked)]


def find_one(argument: str, output: str = "outputs") -> RecordedRun:
    """Return the only run that an argument names.

    Raises:
        UserError: it names no run, or several runs.
    """
    runs = find_runs([argument], output)
    if len(runs) > 1:
        what = f"names {len(runs)} runs, {runs[0].name} and {runs[1].name} among them"
        raise UserError(argument, what, "Give one of them")
    return runs[0]


def runs_under(folder: Path) -> list[RecordedRun]:
    """Return all runs of an output directory and of the named sweeps in it, by name.

    Raises:
        UserError: it is not a directory.
    """
    if not folder.is_dir():
        raise UserError(str(folder), "no such directory", "Train something first, or give --output DIR")
    return [RecordedRun.open(path) for path in _runs_in(folder)]


def _paths(argument: str, output: Path) -> list[Path]:
    if not argument or "\0" in argument:
        return []
    try:
        for path in (Path(argument), output / argument):
            if is_run(path):
                return [path]
            if path.is_dir() and (inside := _runs_in(path)):
                return inside
            if path.suffix == ".json" and path.is_file():
                return _listed(path, output)
        argument = argument.replace("…", "*")  # a name that a table has shortened
        if any(letter in argument for letter in "*?["):
            return _matching(argument, output)
        for path in (Path(argument), output / argument):
            if (now := called_now(path)) is not None:
                return [now]
        return _matching(f"{argument}*", output) or _ending(argument, output)
    except OSError:  # a name that is too long for a file
        return []


def _matching(pattern: str, output: Path) -> list[Path]:
    for folder, relative in ((Path(), pattern), (output, pattern)):
        path = Path(relative)
        if path.is_absolute():
            folder, relative = Path(path.anchor), str(path.relative_to(path.anchor))
        try:
            paths = sorted(folder.glob(relative))
        except (ValueError, NotImplementedError):
            return []
        if runs := [path for path in paths if is_run(path)]:
            return runs
    return []


def _listed(file: Path, output: Path) -> list[Path]:
    """Return the runs that a JSON document lists at any level: paths from here or from its folder, or names.

    Raises:
        UserError: it lists no run, or a run that does not exist.
    """
    names: dict[str, None] = {}
    level: list[Any] = [read_json(file) or {}]
    while level:
        nodes = [node for node in level if isinstance(node, dict)]
        for node in nodes:
            listed = node.get("runs")
            names |= {name: None for name in listed if isinstance(name, str)} if isinstance(listed, list) else {}
        level = [item for node in level for item in (node.values() if isinstance(node, dict) else node)]
        level = [item for item in level if isinstance(item, dict | list)]
    if not names:
        raise UserError(str(file), "lists no runs", "Give the JSON file of a table, or a run's directory")
    found = []
    for name in names:
        places = (Path(name), file.parent / name, output / name)
        there = [place for place in places if is_run(place)]
        there = there or [now for place in places if (now := called_now(place)) is not None]
        if not there:
            raise UserError(str(file), f"lists {name}, which is not there", "Restore it, or leave it out")
        found.append(there[0])
    return found


def _ending(digits: str, output: Path) -> list[Path]:
    if not _DIGEST.fullmatch(digits):
        return []
    return [path for path in _runs_in(output) if re.search(rf"-{digits}[0-9a-f]*$", path.name)]


def _runs_in(folder: Path) -> list[Path]:
    """Return the runs in a directory and in the folders of its named sweeps, by name.

    Of runs with one name, which have the same settings and seed, the first counts: one in the directory itself.
    """
    sweeps = sorted(path for path in _listing(folder) if (path / SWEEP_FILE).is_file())
    found: dict[str, Path] = {}
    for each in (folder, *sweeps):
        for path in _listing(each):
            if is_run(path):
                found.setdefault(path.name, path)
    return [found[name] for name in sorted(found)]


def _listing(folder: Path) -> Iterable[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _nothing(argument: str, output: Path) -> UserError:
    names = [run.name for run in _runs_in(output)]
    if _is_directory(argument):
        return UserError(argument, "contains no runs", "Give the directory of a run, or one with runs in it")
    fix = choose(argument, names) if names else f"There is none under {output}/; give --output DIR"
    return UserError(argument or '""', "no such run", fix)


def _is_directory(argument: str) -> bool:
    try:
        return bool(argument) and Path(argument).is_dir()
    except (OSError, ValueError):  # too long for a name, or with a NUL
        return False
