"""The rules of docs/architecture.md about the code itself: one meaning for each name, and files that can be read."""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "gradinc"

MOST_LINES = 350

SHARED = {
    "main": "the entry of every command in cli",
    "linear": "a model and a schedule, which the command line chooses by this name",
}
"""The names that several modules define, each with the reason."""


def public_names(source: str) -> Iterator[str]:
    """The functions, classes, constants and type aliases that a module defines at its top, without an underscore."""
    for node in ast.parse(source).body:
        names: list[str] = []
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names = [node.name]
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [each.id for target in targets for each in ast.walk(target) if isinstance(each, ast.Name)]
        yield from (name for name in names if not name.startswith("_"))


def test_each_public_name_is_defined_in_one_module() -> None:
    modules: defaultdict[str, set[str]] = defaultdict(set)
    for path in PACKAGE.rglob("*.py"):
        for name in public_names(path.read_text(encoding="utf-8")):
            modules[name].add(path.relative_to(PACKAGE).as_posix())
    several = {name: sorted(places) for name, places in modules.items() if len(places) > 1}
    assert not {name: places for name, places in several.items() if name not in SHARED}
    assert set(several) == set(SHARED), "a name that one module defines needs no exception"
    assert all(place.startswith("cli/") for place in several["main"])


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("def one(): two = 3", ["one"]),
        ("class One:\n    two = 3", ["One"]),
        ("ONE, (TWO, _THREE) = 1, (2, 3)", ["ONE", "TWO"]),
        ("One: type = int\n_Two = int", ["One"]),
        ("from elsewhere import one", []),
    ],
)
def test_every_kind_of_definition_counts(source: str, names: list[str]) -> None:
    assert list(public_names(source)) == names


def test_no_file_is_longer_than_can_be_read_at_once() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert len(lines) > 200
    assert not {str(path.relative_to(PACKAGE)): count for path, count in lines.items() if count > MOST_LINES}
