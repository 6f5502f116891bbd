"""The parts of a run by name, read from their source without importing it.

A part's signature is the schema of its options and its docstring is their help, so a new part is
one file and one YAML, and there is no registry to edit. Sources are parsed, never executed: torch
stays out of listings, help and validation, and a part is imported only by `load_part`.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

from gradinc.base.errors import UserError
from gradinc.config.names import choose
from gradinc.config.signature import Parameter, arguments_of, paper_of, parameters_of, summary_of

PACKAGE = Path(__file__).resolve().parent.parent

FILE_ROOMS = {
    "model": "models",
    "data": "data/sets",
    "stream": "data/streams",
    "method": "methods",
    "rule": "rules",
    "due": "dues",
    "cluster": "studies/sweep/engines",
}
"""Kinds with one file per part, and their folder in the package."""

MODULE_ROOMS = {"optimizer": ("core/optimizers.py", "weights"), "schedule": ("core/schedules.py", "update")}
"""Kinds with one module for all: its file, and the name of the first argument of every part in it."""

KINDS = (*FILE_ROOMS, *MODULE_ROOMS)

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
    """

    kind: str
    name: str
    summary: str
    paper: str | None
    parameters: Mapping[str, Parameter]
    module: str = field(repr=False, compare=False)
    symbol: str = field(repr=False, compare=False)


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
    return [_read(kind, source) for _, source in sorted(_sources(kind, PACKAGE, tuple(sys.path)).items())]


def part(kind: str, name: str, where: str | None = None) -> Part:
    """Return the part of this name.

    Args:
        kind: one of `KINDS`.
        name: the part's name.
        where: the choice as messages name it; by default ``<kind>=<name>``.

    Raises:
        UserError: no part has this name.
    """
    sources = _sources(kind, PACKAGE, tuple(sys.path))
    if name not in sources:
        for entry in entry_points(group=f"gradinc.{PLURALS[kind]}", name=name):
            package = entry.dist.name if entry.dist is not None else entry.module.partition(".")[0]
            what = f"is in the module {entry.module}, which cannot be found"
            raise UserError(where or f"{kind}={name}", what, f"Install {package} again")
        raise UnknownPart(kind, name, where or f"{kind}={name}", choose(name, sorted(sources)))
    return _read(kind, sources[name])


def load_part(kind: str, name: str) -> Callable[..., Any]:
    """Import a part and return its function or class.

    Raises:
        UserError: no part has this name.
    """
    found = part(kind, name)
    loaded: Callable[..., Any] = getattr(importlib.import_module(found.module), found.symbol)
    return loaded


class _Source(NamedTuple):
    """The place of a part's definition."""

    name: str
    module: str
    path: Path
    symbol: str


@cache
def _sources(kind: str, package: Path, installed: tuple[str, ...]) -> dict[str, _Source]:
    """Return the place of each part of a kind, by name; gradinc's own come before others of the same name.

    Args:
        kind: one of `KINDS`.
        package: gradinc's folder.
        installed: the folders that Python imports from, as in ``sys.path``.
    """
    return {source.name: source for source in (*_elsewhere(kind), *_own(kind, package))}


def _own(kind: str, package: Path) -> Iterator[_Source]:
    if kind in MODULE_ROOMS:
        file, first = MODULE_ROOMS[kind]
        path = package / file
        functions = [n for n in _tree(path).body if isinstance(n, ast.FunctionDef)] if path.is_file() else []
        for node in functions:
            if not node.name.startswith("_") and [a.arg for a in node.args.args[:1]] == [first]:
                yield _Source(node.name, f"gradinc.{file.removesuffix('.py').replace('/', '.')}", path, node.name)
        return
    room = FILE_ROOMS[kind]
    for path in sorted((package / room).glob("[!_]*.py")):
        symbol = _symbol(path, path.stem)
        if symbol is not None:
            yield _Source(path.stem, f"gradinc.{room.replace('/', '.')}.{path.stem}", path, symbol)


def _elsewhere(kind: str) -> Iterator[_Source]:
    """Yield parts that other packages register, as entry points ``name = "package.module"``."""
    for entry in entry_points(group=f"gradinc.{PLURALS[kind]}"):
        path = _source_file(entry.module)
        symbol = entry.attr or (_symbol(path, entry.name) if path is not None else None)
        if path is not None and symbol:
            yield _Source(entry.name, entry.module, path, symbol)


def _source_file(module: str) -> Path | None:
    """Return the file of a module, found without executing its parent packages."""
    spec: ModuleSpec | None = None
    for piece in module.split("."):
        # By its last word alone: for a folder without __init__.py, Python would look its parent up among the imported
        # modules.
        spec = PathFinder.find_spec(piece, None if spec is None else list(spec.submodule_search_locations or ()))
        if spec is None:
            return None
    return Path(spec.origin) if spec is not None and spec.origin and spec.origin.endswith(".py") else None


@cache
def _tree(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except SyntaxError as error:
        raise UserError(str(path), f"line {error.lineno} is not valid Python", "Correct the file") from error


def _symbol(path: Path, name: str) -> str | None:
    """Return the function or class in a file whose name is `name`, apart from letter case and underscores."""
    for node in _tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and _squeezed(node.name) == _squeezed(name):
            return node.name
    return None


def _squeezed(name: str) -> str:
    return name.replace("_", "").lower()


@cache
def _read(kind: str, source: _Source) -> Part:
    name, module, path, symbol = source
    tree = _tree(path)
    definition = next(
        (n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and n.name == symbol), None
    )
    if definition is None:
        raise UserError(str(path), f"no function or class {symbol}", f"Define it, or correct the name of {kind} {name}")
    text = ast.get_docstring(definition) or ""
    signature: ast.FunctionDef | None = definition if isinstance(definition, ast.FunctionDef) else None
    if isinstance(definition, ast.ClassDef):
        signature = next((n for n in definition.body if isinstance(n, ast.FunctionDef) and n.name == "__init__"), None)
        if signature is not None:
            text += "\n\n" + (ast.get_docstring(signature) or "")
    parameters = {} if signature is None else parameters_of(signature, tree, path, arguments_of(text))
    return Part(kind, name, summary_of(text), paper_of(text), parameters, module, symbol)
