"""The source of a function or a class that is loaded in this process."""

from __future__ import annotations

import ast
import linecache
import os
import symtable
import sys
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, NamedTuple

from gradinc.base.errors import UserError


class NoSource(Exception):
    """A digest cannot be taken.

    Args:
        what: the object and the reason, as the end of a sentence: ``a class that was typed at the prompt``.
    """


class Definition(NamedTuple):
    """A function or a class in its source.

    Attributes:
        text: its source, with decorators, not indented.
        names: global names and names of enclosing functions that it uses, sorted.
        attributes: names read from each of these names, for names of modules.
        scope: the values of names, as far as they exist.
    """

    text: str
    names: tuple[str, ...]
    attributes: Mapping[str, tuple[str, ...]]
    scope: Mapping[str, Any]


def of_function(function: FunctionType) -> Definition:
    """Return the definition of a function or a lambda.

    Raises:
        NoSource: it has no source.
        UserError: its file was edited after it was loaded.
    """
    code = function.__code__
    source, tree = _parsed(code.co_filename, function.__globals__, f"{function.__qualname__}")
    kinds = ast.Lambda if code.co_name == "<lambda>" else ast.FunctionDef | ast.AsyncFunctionDef
    nodes = [node for node in ast.walk(tree) if isinstance(node, kinds) and _first_line(node) == code.co_firstlineno]
    if not nodes:
        raise _not_there(function.__qualname__, code.co_filename)
    nodes = [node for node in nodes if len(nodes) == 1 or _holds(node, code)] or nodes
    _check_loaded(code, source, code.co_filename)
    cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=False))
    enclosing = {name: cell.cell_contents for name, cell in cells.items() if _filled(cell)}
    return _definition([_segment(source, node) for node in nodes], {**function.__globals__, **enclosing})


def of_class(kind: type) -> Definition:
    """Return the definition of a class, from the file of its methods or of its module.

    Raises:
        NoSource: it has no source.
        UserError: its file was edited after it was loaded.
    """
    methods = [each for each in methods_of(kind) if each.__qualname__.rpartition(".")[0] == kind.__qualname__]
    module = sys.modules.get(kind.__module__)
    scope: dict[str, Any] = dict(vars(module)) if module is not None else {}
    place = methods[0].__code__.co_filename if methods else str(getattr(module, "__file__", None) or "<nowhere>")
    source, tree = _parsed(place, methods[0].__globals__ if methods else scope, kind.__qualname__)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == kind.__name__]
    lines = [each.__code__.co_firstlineno for each in methods]
    nodes = [node for node in nodes if all(node.lineno <= line <= (node.end_lineno or 0) for line in lines)]
    if not nodes:
        raise _not_there(kind.__qualname__, place)
    for each in methods:
        _check_loaded(each.__code__, source, place)
        scope |= each.__globals__
        cells = zip(each.__code__.co_freevars, each.__closure__ or (), strict=False)
        scope |= {name: cell.cell_contents for name, cell in cells if name != "__class__" and _filled(cell)}
    return _definition([_segment(source, nodes[-1])], scope)


def methods_of(kind: type) -> list[FunctionType]:
    """Return the functions of a class, without inherited ones, also behind properties and other wrappers."""
    found = []
    for value in vars(kind).values():
        for each in (value, *(getattr(value, name, None) for name in ("fget", "fset", "__func__", "__wrapped__"))):
            if isinstance(each, FunctionType):
                found.append(each)
    return found


def _parsed(filename: str, scope: Mapping[str, Any], name: str) -> tuple[str, ast.Module]:
    if os.path.exists(filename):
        linecache.checkcache(filename)
    source = "".join(linecache.getlines(filename, dict(scope)))
    if not source:
        raise NoSource(f"{name} has no source file")
    try:
        return source, ast.parse(source)
    except SyntaxError:
        raise _not_there(name, filename) from None


def _first_line(node: Any) -> int:
    decorators = getattr(node, "decorator_list", [])
    return int(min([node.lineno, *(each.lineno for each in decorators)]))


def _holds(node: Any, code: CodeType) -> bool:
    """Return whether code is all inside a node: several lambdas can be on one line."""
    places = [(line, column) for line, _, column, _ in code.co_positions() if line and column]
    return all((node.lineno, node.col_offset) <= each < (node.end_lineno, node.end_col_offset) for each in places)


def _segment(source: str, node: Any) -> str:
    if isinstance(node, ast.Lambda):
        return ast.get_source_segment(source, node) or ast.unparse(node)
    lines = source.splitlines()[_first_line(node) - 1 : node.end_lineno]
    return textwrap.dedent("\n".join(line.rstrip() for line in lines))


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _definition(segments: list[str], scope: Mapping[str, Any]) -> Definition:
    names: set[str] = set()
    attributes: dict[str, set[str]] = {}
    for text in segments:
        whole = f"({text}\n)" if text.lstrip().startswith("lambda") else text
        names |= set(_global_names(symtable.symtable(whole, "<source>", "exec"), top=True))
        for node in ast.walk(ast.parse(whole)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                attributes.setdefault(node.value.id, set()).add(node.attr)
    used = {name: tuple(sorted(found)) for name, found in attributes.items()}
    return Definition("\n".join(segments), tuple(sorted(names)), used, scope)


def _global_names(table: symtable.SymbolTable, *, top: bool = False) -> Iterator[str]:
    """Yield the names that a scope and the scopes in it use and don't define."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or (top and not symbol.is_assigned())):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _global_names(child)


# ---- is the file what was loaded? ----


def _check_loaded(code: CodeType, source: str, filename: str) -> None:
    """Check that a file still has the code that was loaded from it.

    A debugger or a test runner may load changed code from an unchanged file, so only a file that was written after this
    process began is compared.

    Raises:
        UserError: it has other code.
    """
    path = Path(filename)
    if not path.exists() or path.stat().st_mtime < _BEGUN:
        return
    found = [each for each in _codes(compile(source, filename, "exec", dont_inherit=True)) if _same_place(each, code)]
    if not any(_equal(each, code) for each in found):
        what = f"{code.co_qualname} was edited after it was loaded"
        raise UserError(filename, what, "Load it again: restart Python, or importlib.reload its module")


def _codes(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes(each)


def _same_place(one: CodeType, other: CodeType) -> bool:
    return one.co_qualname == other.co_qualname and one.co_firstlineno == other.co_firstlineno


def _equal(one: CodeType, other: CodeType) -> bool:
    if (one.co_code, one.co_names, len(one.co_consts)) != (other.co_code, other.co_names, len(other.co_consts)):
        return False
    pairs = zip(one.co_consts, other.co_consts, strict=True)
    return all(_equal(a, b) if isinstance(a, CodeType) and isinstance(b, CodeType) else a == b for a, b in pairs)


def _begun() -> float:
    """Return when this process began, in seconds since the epoch; 0 if the system does not say."""
    try:
        return os.stat(f"/proc/{os.getpid()}").st_mtime
    except OSError:
        return 0.0


_BEGUN = _begun()


def _not_there(name: str, filename: str) -> UserError | NoSource:
    if os.path.exists(filename):
        return UserError(filename, f"{name} was edited after it was loaded", "Load it again: restart Python")
    return NoSource(f"{name} has no source file")
