"""The parts that a run is built from, by name, read from their source without importing it.

A part's signature is the schema of its options and its docstring is their help, so a new part is
one file and one YAML, and there is no registry to edit. Sources are parsed, never executed: torch
stays out of listings, help and validation, and a part is imported only by `load_part`.
"""

from __future__ import annotations

import ast
import importlib
import math
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, NamedTuple

import annotated_types

from gradinc.config import values
from gradinc.config.names import choose
from gradinc.errors import UserError

PACKAGE = Path(__file__).resolve().parent.parent

FILE_ROOMS = {
    "model": "models",
    "data": "data/sets",
    "stream": "data/streams",
    "method": "methods",
    "rule": "rules",
    "due": "dues",
}
"""Kinds with one file per part, and their folder in the package."""

MODULE_ROOMS = {"optimizer": ("optimizers.py", "weights"), "schedule": ("schedules.py", "update")}
"""Kinds with one module for all: its file, and the name that the first argument of every part there has."""

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
}
"""What a listing of a kind is called, and after ``gradinc.`` the entry point group of its parts from elsewhere."""


class _Required:
    def __repr__(self) -> str:
        return "REQUIRED"


REQUIRED = _Required()
"""Stands for the default of an option that has none."""


@dataclass(frozen=True)
class Parameter:
    """One option of a part.

    Attributes:
        annotation: its type, with its range as `annotated_types` metadata.
        default: its default, or `REQUIRED`.
        help: its line in the part's docstring.
    """

    annotation: Any
    default: Any
    help: str


@dataclass(frozen=True)
class Part:
    """A model, data set, stream, method, rule, optimizer or schedule.

    Attributes:
        kind: one of `KINDS`.
        name: what it is chosen by.
        summary: the first line of its docstring.
        paper: its ``Paper:`` line, where there is one.
        parameters: its options, in the order of its signature.
    """

    kind: str
    name: str
    summary: str
    paper: str | None
    parameters: Mapping[str, Parameter]
    module: str = field(repr=False, compare=False)
    symbol: str = field(repr=False, compare=False)


def parts(kind: str) -> list[Part]:
    """Every part of a kind, by name."""
    return [_read(kind, source) for _, source in sorted(_sources(kind).items())]


def part(kind: str, name: str, where: str | None = None) -> Part:
    """The part of that name.

    Args:
        kind: one of `KINDS`.
        name: the part's name.
        where: what a message calls the choice; ``<kind>=<name>`` if not given.

    Raises:
        UserError: there is none of that name.
    """
    sources = _sources(kind)
    if name not in sources:
        raise UserError(where or f"{kind}={name}", "unknown", choose(name, sorted(sources)))
    return _read(kind, sources[name])


def load_part(kind: str, name: str) -> Callable[..., Any]:
    """Import a part and return its function or class.

    Raises:
        UserError: there is none of that name.
    """
    found = part(kind, name)
    loaded: Callable[..., Any] = getattr(importlib.import_module(found.module), found.symbol)
    return loaded


class _Source(NamedTuple):
    """Where a part is defined."""

    name: str
    module: str
    path: Path
    symbol: str


@cache
def _sources(kind: str) -> dict[str, _Source]:
    """Where each part of a kind is, by name; gradinc's own come before others of the same name."""
    return {source.name: source for source in (*_elsewhere(kind), *_own(kind))}


def _own(kind: str) -> Iterator[_Source]:
    if kind in MODULE_ROOMS:
        file, first = MODULE_ROOMS[kind]
        path = PACKAGE / file
        functions = [n for n in _tree(path).body if isinstance(n, ast.FunctionDef)] if path.is_file() else []
        for node in functions:
            if not node.name.startswith("_") and [a.arg for a in node.args.args[:1]] == [first]:
                yield _Source(node.name, f"gradinc.{path.stem}", path, node.name)
        return
    room = FILE_ROOMS[kind]
    for path in sorted((PACKAGE / room).glob("[!_]*.py")):
        symbol = _symbol(path, path.stem)
        if symbol is not None:
            yield _Source(path.stem, f"gradinc.{room.replace('/', '.')}.{path.stem}", path, symbol)


def _elsewhere(kind: str) -> Iterator[_Source]:
    """Parts that other packages register, as entry points ``name = "package.module"``."""
    for entry in entry_points(group=f"gradinc.{PLURALS[kind]}"):
        path = _source_file(entry.module)
        symbol = entry.attr or (_symbol(path, entry.name) if path is not None else None)
        if path is not None and symbol:
            yield _Source(entry.name, entry.module, path, symbol)


def _source_file(module: str) -> Path | None:
    """The file of a module, found without executing its parent packages."""
    spec: ModuleSpec | None = None
    name = ""
    for piece in module.split("."):
        name = f"{name}.{piece}" if name else piece
        spec = PathFinder.find_spec(name, None if spec is None else list(spec.submodule_search_locations or ()))
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
    """The function or class in a file whose name is `name`, letter case and underscores aside."""
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
    parameters = {} if signature is None else _parameters(signature, tree, path, _arguments(text))
    return Part(kind, name, _summary(text), _paper(text), parameters, module, symbol)


def _parameters(
    signature: ast.FunctionDef, tree: ast.Module, path: Path, helps: Mapping[str, str]
) -> dict[str, Parameter]:
    aliases = {
        target.id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    reader = _Reader(aliases)
    found = {}
    for argument, default in zip(signature.args.kwonlyargs, signature.args.kw_defaults, strict=True):
        try:
            annotation = Any if argument.annotation is None else reader.read(argument.annotation)
            value = REQUIRED if default is None else reader.read(default)
        except _Unreadable as error:
            where = f"{path}:{error.node.lineno}"
            what = (
                f"option {argument.arg} uses {ast.unparse(error.node)}, which cannot be read without running the file"
            )
            raise UserError(where, what, "Use literals and the names in gradinc.config.values") from error
        found[argument.arg] = Parameter(annotation, value, helps.get(argument.arg, ""))
    return found


def _summary(text: str) -> str:
    return text.partition("\n")[0].strip().rstrip(".")


def _paper(text: str) -> str | None:
    for line in text.splitlines():
        if line.strip().startswith("Paper:"):
            return line.strip().removeprefix("Paper:").strip().rstrip(".")
    return None


def _arguments(text: str) -> dict[str, str]:
    """The entries of a docstring's ``Args:`` sections, each as one line."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    margin = inside = -1
    for line in text.splitlines():
        depth = len(line) - len(line.lstrip())
        if line.strip() == "Args:":
            margin, inside, current = depth, -1, None
        elif margin < 0 or not line.strip():
            continue
        elif depth <= margin:
            margin = -1
        else:
            inside = depth if inside < 0 else inside
            name, colon, rest = line.strip().partition(":")
            if depth == inside and colon:
                current = found.setdefault(name.split(" ")[0].strip("*`"), [])
                current.append(rest.strip())
            elif current is not None:
                current.append(line.strip())
    return {name: " ".join(" ".join(lines).split()).rstrip(".") for name, lines in found.items()}


class _Unreadable(Exception):
    def __init__(self, node: ast.expr) -> None:
        self.node = node


class _Reader:
    """Evaluates annotations and defaults: literals, types and ranges; nothing else is called or looked up.

    Args:
        aliases: the right-hand sides of the module's own assignments, by name.
    """

    NAMES: typing.ClassVar[dict[str, Any]] = {
        **{t.__name__: t for t in (int, float, bool, str, list, tuple, dict)},
        **{name: getattr(typing, name) for name in ("Annotated", "Any", "Literal", "Optional", "Union")},
        **{name: thing for name, thing in vars(values).items() if name[0].isupper()},
    }
    MODULES: typing.ClassVar[dict[str, Any]] = {
        "math": math,
        "typing": typing,
        "annotated_types": annotated_types,
        "values": values,
    }
    RANGES: typing.ClassVar[dict[str, Any]] = {
        name: getattr(annotated_types, name)
        for name in ("Ge", "Gt", "Le", "Lt", "Interval", "Len", "MaxLen", "MinLen", "MultipleOf")
    }

    def __init__(self, aliases: Mapping[str, ast.expr]) -> None:
        self.aliases = dict(aliases)

    def read(self, node: ast.expr) -> Any:
        """The value of an expression.

        Raises:
            _Unreadable: it is more than a literal, a type or a range.
        """
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                return self._named(node, name)
            case ast.Attribute(value=ast.Name(id=module), attr=name) if module in self.MODULES:
                if module == "math" and name not in ("inf", "pi", "e"):
                    raise _Unreadable(node)
                return getattr(self.MODULES[module], name)
            case ast.Tuple(elts=elements):
                return tuple(self.read(element) for element in elements)
            case ast.List(elts=elements):
                return [self.read(element) for element in elements]
            case ast.Dict(keys=keys, values=entries) if None not in keys:
                return {self.read(k): self.read(v) for k, v in zip(keys, entries, strict=True) if k is not None}
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self.read(operand)
            case ast.BinOp(left=left, op=ast.BitOr(), right=right):
                return typing.Union[self.read(left), self.read(right)]  # noqa: UP007
            case ast.Subscript(value=value, slice=index):
                return self.read(value)[self.read(index)]
            case ast.Call(func=function, args=arguments, keywords=keywords):
                made = self.read(function)
                if made not in self.RANGES.values():
                    raise _Unreadable(node)
                return made(
                    *(self.read(a) for a in arguments), **{k.arg: self.read(k.value) for k in keywords if k.arg}
                )
        raise _Unreadable(node)

    def _named(self, node: ast.expr, name: str) -> Any:
        if name in self.aliases:
            # Taken out while it is read, so that a name defined by itself ends in an error.
            alias = self.aliases.pop(name)
            try:
                return self.read(alias)
            finally:
                self.aliases[name] = alias
        for known in (self.NAMES, self.RANGES):
            if name in known:
                return known[name]
        raise _Unreadable(node)
