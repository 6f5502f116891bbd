"""Definitions of parts in Python files, found by parsing: no file is executed."""

from __future__ import annotations

import ast
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.config.parts_folder import shown_path


def source_file(module: str) -> Path | None:
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
def tree_of(path: Path) -> ast.Module:
    """Return the syntax tree of a file.

    Raises:
        UserError: it is not valid Python.
    """
    try:
        return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))
    except SyntaxError as error:
        what = f"is not valid Python ({error.msg})"
        raise UserError(f"{shown_path(path)}:{error.lineno}", what, "Correct the file") from error


def symbol_in(path: Path, name: str) -> str | None:
    """Return the function or class in a file whose name is `name`, apart from letter case and underscores."""
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and _squeezed(node.name) == _squeezed(name):
            return node.name
    return None


def _squeezed(name: str) -> str:
    return name.replace("_", "").lower()


def definition_in(path: Path, symbol: str) -> ast.FunctionDef | ast.ClassDef:
    """Return the function or class of a name in a file.

    Raises:
        UserError: there is none.
    """
    for node in tree_of(path).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == symbol:
            return node
    raise UserError(shown_path(path), f"no function or class {symbol}", "Define it, or correct its name")
