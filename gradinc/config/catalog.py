"""The parts of a run by name, read from their source without importing it.

A part's signature is the schema of its options and its docstring is their help, so a new part is
one file and one YAML, and there is no registry to edit. Sources are parsed, never executed: torch
stays out of listings, help and validation, and a part is imported only by `load_part`.
"""

from __future__ import annotations

import ast
import importlib
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from gradinc.base.errors import UserError
from gradinc.config.definitions import definition_in, source_file, symbol_in, tree_of
from gradinc.config.names import choose, has_near
from gradinc.config.parts_folder import PartsFolder, shown_path, used_folders
from gradinc.config.signature import Form, Parameter, arguments_of, check_form, paper_of, parameters_of, summary_of

PACKAGE = Path(__file__).resolve().parent.parent

OWN = "gradinc"
"""The package of gradinc's own parts."""

FILE_ROOMS = {
    "model": "models",
    "data": "data/sets",
    "stream": "data/streams",
    "method": "methods",
    "rule": "rules",
    "due": "dues",
    "criterion": "criteria",
    "metric": "core/metrics",
    "augmentation": "data/augmentations",
    "tracker": "trackers",
    "cluster": "studies/sweep/engines",
}
"""Kinds with one file per part, and their folder in the package."""

MODULE_ROOMS = {"optimizer": ("core/optimizers.py", "weights"), "schedule": ("core/schedules.py", "update")}
"""Kinds with one module for all: its file, and the name of the first argument of every part in it."""

KINDS = (*FILE_ROOMS, *MODULE_ROOMS)

FORMS = {
    "model": Form(("shape", "outputs"), ("shape", "outputs", "text")),
    "data": Form(("root",)),
    "stream": Form(("material",)),
    "method": Form(base="gradinc.core.method.Method"),
    "rule": Form(base="gradinc.core.rule.Rule"),
    "due": Form(base="gradinc.core.due.Due"),
    "criterion": Form(("out", "y"), ("targets",)),
    "metric": Form(base="gradinc.core.metric.Metric"),
    "augmentation": Form(("x", "generator"), ("x", "generator", "fill")),
    "tracker": Form(base="gradinc.records.tracker.Tracker"),
    "cluster": Form(),
    "optimizer": Form(("weights",)),
    "schedule": Form(("update", "updates")),
}
"""The form of the definition of each kind of part."""

PLURALS = {
    "model": "models",
    "data": "data",
    "stream": "streams",
    "optimizer": "optimizers",
    "schedule": "schedules",
    "strategy": "strategies",
    "experiment": "experiments",
    "table": "tables",
    "method": "methods",
    "rule": "rules",
    "due": "dues",
    "criterion": "criteria",
    "metric": "metrics",
    "augmentation": "augmentations",
    "tracker": "trackers",
    "cluster": "clusters",
}
"""The kind's name in listings; after ``gradinc.`` it is the entry point group of parts in other packages."""


@dataclass(frozen=True)
class Part:
    """A model, data set, stream, method, rule, optimizer or schedule.

    Attributes:
        kind: one of `KINDS`.
        name: the part's name.
        summary: the first line of its docstring.
        paper: its ``Paper:`` line, or None.
        parameters: its options, in the order of its signature.
        path: the file of its definition.
    """

    kind: str
    name: str
    summary: str
    paper: str | None
    parameters: Mapping[str, Parameter]
    module: str = field(repr=False, compare=False)
    symbol: str = field(repr=False, compare=False)
    path: Path = field(repr=False, compare=False)

    @property
    def package(self) -> str:
        """The package that its module is in: ``gradinc`` for gradinc's own."""
        return self.module.partition(".")[0]

    def written(self, attribute: str) -> Any:
        """Return the value of an attribute as its class has it, or None if it is not a literal."""
        for node in definition_in(self.path, self.symbol).body:
            if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
                continue
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
                with suppress(ValueError):
                    return ast.literal_eval(node.value)
        return None


class UnknownPart(UserError):
    """No installed package has the part.

    Args:
        kind: one of `KINDS`.
        name: the requested name.
        where: the key.
        fix: what to do about it.
    """

    def __init__(self, kind: str, name: str, where: str, fix: str) -> None:
        self.kind, self.name = kind, name
        super().__init__(where, "unknown", fix)


def parts(kind: str) -> list[Part]:
    """Return every part of a kind, by name."""
    return [_read(kind, source) for _, source in sorted(_all(kind).items())]


def part(kind: str, name: str, where: str | None = None) -> Part:
    """Return the part of this name.

    Args:
        kind: one of `KINDS`.
        name: the part's name.
        where: the choice as messages name it; by default ``<kind>=<name>``.

    Raises:
        UserError: no part has this name.
    """
    sources = _all(kind)
    if name not in sources:
        where = where or f"{kind}={name}"
        for entry in entry_points(group=f"gradinc.{PLURALS[kind]}", name=name):
            package = entry.dist.name if entry.dist is not None else entry.module.partition(".")[0]
            what = f"is in the module {entry.module}, which cannot be found"
            raise UserError(where, what, f"Install {package} again")
        refuse_unnamed(kind, name, where)
        raise UnknownPart(kind, name, where, choose_part(name, sorted(sources)))
    return _read(kind, sources[name])


def choose_part(wrong: str, names: Sequence[str]) -> str:
    """Return `choose` for the name of a part, which may be in a folder of the user's own parts."""
    own = "" if used_folders() or has_near(wrong, names) else "; a part of your own needs --with FOLDER"
    return choose(wrong, names) + own


def load_part(kind: str, name: str, where: str | None = None) -> Callable[..., Any]:
    """Import a part and return its function or class.

    Args:
        where: the choice as messages name it, as in `part`.

    Raises:
        UserError: no part has this name, or its module cannot be imported.
    """
    found = part(kind, name, where)
    try:
        loaded: Callable[..., Any] = getattr(importlib.import_module(found.module), found.symbol)
    except Exception as error:
        if found.package == OWN:
            raise
        raise _not_importable(found, error) from error
    return loaded


def refuse_unnamed(kind: str, name: str, where: str) -> None:
    """Refuse the name of a file in a folder of parts that does not define the part.

    Args:
        where: the choice as the message names it.

    Raises:
        UserError: there is such a file.
    """
    for folder in used_folders():
        for room in _rooms(kind):
            if (path := folder.path / room / f"{name}.py").is_file():
                what = f"has no function or class {name}, which {where} asks for"
                raise UserError(shown_path(path), what, "Give one of its definitions the name of the file")


def check_folders() -> None:
    """Check the parts in the folders in use: every file can be read, and no name is gradinc's.

    Raises:
        UserError: one is wrong; the message has the file and the line.
    """
    for kind in KINDS if used_folders() else ():
        parts(kind)


def _not_importable(part: Part, error: Exception) -> UserError:
    """Return the error for a part whose module raised one, with the last line of the part's own package."""
    depth = part.module.count(".")
    root = part.path.parents[depth - 1] if depth else part.path
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(root)]
    place = (frames[-1].filename, frames[-1].lineno) if frames else (str(part.path), 1)
    if isinstance(error, SyntaxError) and error.filename is not None:
        place = error.filename, error.lineno
    what = f"cannot be imported for {part.kind}={part.name} ({type(error).__name__}: {error})"
    return UserError(f"{shown_path(Path(place[0]))}:{place[1]}", what, "Correct the file")


class _Source(NamedTuple):
    """The place of a part's definition."""

    name: str
    module: str
    path: Path
    symbol: str


def _all(kind: str) -> dict[str, _Source]:
    return _sources(kind, PACKAGE, tuple(sys.path), used_folders())


@cache
def _sources(
    kind: str, package: Path, installed: tuple[str, ...], folders: tuple[PartsFolder, ...]
) -> dict[str, _Source]:
    """Return the place of each part of a kind, by name; gradinc's own come before installed ones of the same name.

    Args:
        kind: one of `KINDS`.
        package: gradinc's folder.
        installed: the folders that Python imports from, as in ``sys.path``.
        folders: the folders of the user's own parts.

    Raises:
        UserError: a part in a folder has the name of another part.
    """
    found = {source.name: source for source in (*_elsewhere(kind), *_own(kind, package))}
    for source in (source for folder in folders for source in _in_folder(kind, folder)):
        if (other := found.get(source.name)) is not None:
            whose = "gradinc" if other.path.is_relative_to(package) else other.module.partition(".")[0]
            line = definition_in(source.path, source.symbol).lineno
            what = f"{whose} has a {kind} of the name {source.name}"
            raise UserError(f"{shown_path(source.path)}:{line}", what, "Give it another name")
        found[source.name] = source
    return found


def _own(kind: str, package: Path) -> Iterator[_Source]:
    if kind in MODULE_ROOMS:
        file, first = MODULE_ROOMS[kind]
        yield from _in_module(package / file, first, f"gradinc.{_dotted(file)}")
        return
    yield from _in_files(package / FILE_ROOMS[kind], f"gradinc.{_dotted(FILE_ROOMS[kind])}")


def _in_folder(kind: str, folder: PartsFolder) -> Iterator[_Source]:
    if kind in MODULE_ROOMS:
        file, first = MODULE_ROOMS[kind]
        for place in (file, Path(file).name):
            yield from _in_module(folder.path / place, first, f"{folder.name}.{_dotted(place)}")
    for room in _rooms(kind):
        yield from _in_files(folder.path / room, f"{folder.name}.{_dotted(room)}")


def _rooms(kind: str) -> list[str]:
    """Return the folders, in a folder of parts, that a kind is looked for in: gradinc's own, or its last word."""
    room = FILE_ROOMS.get(kind) or MODULE_ROOMS[kind][0].removesuffix(".py")
    return list(dict.fromkeys((room, room.rpartition("/")[2], *([] if kind == "data" else [PLURALS[kind]]))))


def place_of(kind: str, name: str) -> Path:
    """Return the file of a part in a folder of parts, relative to the folder."""
    return Path(_rooms(kind)[0].removeprefix("core/"), f"{name}.py")


def _in_module(path: Path, first: str, module: str) -> Iterator[_Source]:
    """Yield the functions of a module whose first argument has this name."""
    nodes = tree_of(path).body if path.is_file() else []
    for node in (node for node in nodes if isinstance(node, ast.FunctionDef)):
        if not node.name.startswith("_") and [a.arg for a in node.args.args[:1]] == [first]:
            yield _Source(node.name, module, path, node.name)


def _in_files(folder: Path, package: str) -> Iterator[_Source]:
    """Yield the parts in the files of a folder; a file without a definition of its name is for the others' use."""
    for path in sorted(folder.glob("[!_]*.py")):
        if (symbol := symbol_in(path, path.stem)) is not None:
            yield _Source(path.stem, f"{package}.{path.stem}", path, symbol)


def _dotted(file: str) -> str:
    return file.removesuffix(".py").replace("/", ".")


def _elsewhere(kind: str) -> Iterator[_Source]:
    """Yield parts that other packages register, as entry points ``name = "package.module"``."""
    for entry in entry_points(group=f"gradinc.{PLURALS[kind]}"):
        path = source_file(entry.module)
        symbol = entry.attr or (symbol_in(path, entry.name) if path is not None else None)
        if path is not None and symbol:
            yield _Source(entry.name, entry.module, path, symbol)


@cache
def _read(kind: str, source: _Source) -> Part:
    name, module, path, symbol = source
    definition = definition_in(source.path, source.symbol)
    text = ast.get_docstring(definition) or ""
    signature: ast.FunctionDef | None = definition if isinstance(definition, ast.FunctionDef) else None
    if isinstance(definition, ast.ClassDef):
        signature = next((n for n in definition.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if signature is not None:
            text += "\n\n" + (ast.get_docstring(signature) or "")
    shown = Path(shown_path(path))
    parameters = {} if signature is None else parameters_of(signature, tree_of(path), shown, arguments_of(text))
    check_form(kind, FORMS[kind], definition, signature, shown)
    return Part(kind, name, summary_of(text), paper_of(text), parameters, module, symbol, path)
