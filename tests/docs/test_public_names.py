"""Tests use gradinc as other code does: through its public names."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

TORCH = {"_metadata"}
"""Private names of PyTorch that gradinc has to assign."""


def is_private(name: str) -> bool:
    """Whether a name begins with one underscore."""
    return len(name) > 1 and name.startswith("_") and not name.startswith("__")


def defined(source: str) -> set[str]:
    """The private names that a source defines or assigns: at its top, in classes and as attributes."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return {name for name in found if is_private(name)}


def used(source: str, private: set[str]) -> list[str]:
    """The private names that a source imports, reads from another object, or names in a text that is a single word."""
    own, found = defined(source), []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gradinc"):
            found += [alias.name for alias in node.names if is_private(alias.name)]
        elif isinstance(node, ast.Attribute) and node.attr in private - own:
            found.append(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            found += [name for name in [node.value.rpartition(".")[2]] if name in private]
    return found


PRIVATE = set().union(*(defined(path.read_text(encoding="utf-8")) for path in (ROOT / "gradinc").rglob("*.py"))) - TORCH


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("from gradinc.core import _made", ["_made"]),
        ("learner._made", ["_made"]),
        ("patch.setattr(learner, '_made', 1)", ["_made"]),
        ("patch.setattr('gradinc.core._made', 1)", ["_made"]),
        ("class A:\n    def __init__(self): self._made = 1\n    def made(self): return self._made", []),
        ("torch._other", []),
    ],
)
def test_every_use_of_a_private_name_is_found(source: str, names: list[str]) -> None:
    assert used(source, {"_made"}) == names


def test_no_test_uses_a_private_name_of_gradinc() -> None:
    assert len(PRIVATE) > 300
    tests = {
        path: path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__)
    }
    found = {str(path.relative_to(ROOT)): used(source, PRIVATE) for path, source in tests.items()}
    assert {path: names for path, names in found.items() if names} == {}
