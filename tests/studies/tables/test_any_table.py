"""Whatever stands in a table's file: it is a table, or one line says what is wrong with it."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from small_table import DOCUMENT, write_table

from gradinc.base.errors import UserError
from gradinc.base.text import one_line
from gradinc.studies.tables.cells import chosen_rows, compose_cells, open_table
from gradinc.studies.tables.document import table_document
from gradinc.studies.tables.rendering import FILES

NAMES = [*DOCUMENT, *DOCUMENT["columns"]["accuracy"], "slow", "published", "printed", "_target_", "cells"]
PRINTED = [
    "50 ± ",
    "1e3",
    "nan",
    "sem",
    "2401.00001\n",
    "🙂",
    "\x1b[31m",
    "[red]",
    "",
    "test.",
    "test.accuracy.x",
    "logged",
]
OVERRIDES = [
    "${seed}",
    "${",
    "{a: 1}",
    "seed=1",
    "name=x",
    "output=x",
    "~model",
    "strategy=[sgd,er]",
    "a,b",
    "=",
    "data=mnist",
]
WORDS = st.sampled_from([*NAMES, *PRINTED, *OVERRIDES])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS | st.dates() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS | st.integers() | st.booleans(), inner, max_size=3)
    ),
    max_leaves=4,
)


def places(node: Any) -> list[tuple[Any, Any]]:
    """Every container and key in a document."""
    keys = list(node) if isinstance(node, dict) else list(range(len(node))) if isinstance(node, list) else []
    return [(node, key) for key in keys] + [place for key in keys for place in places(node[key])]


@st.composite
def mutated(draw: st.DrawFn) -> dict[str, Any]:
    """The small table with one to three things in it changed, taken out or added."""
    document = copy.deepcopy(DOCUMENT)
    for _ in range(draw(st.integers(1, 3))):
        found = places(document)
        if not found:
            break
        node, key = draw(st.sampled_from(found))
        what = draw(st.sampled_from(["change", "change", "remove", "add"]))
        if what == "change":
            node[key] = draw(VALUES)
        elif what == "remove":
            del node[key]
        elif isinstance(node, dict):
            node[draw(WORDS)] = draw(VALUES)
        else:
            node.append(draw(VALUES))
    return document


def outcome(folder: Path) -> str | None:
    """The line that says what is wrong with the table in a folder; None where it can be shown whole."""
    try:
        table = open_table("tiny", [folder])
        cells = compose_cells(table, chosen_rows(table, None), table.seeds, (), [folder])
    except UserError as error:
        return one_line(error)
    document = table_document(table, cells, {})
    for render in FILES.values():
        render(document)
    return None


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(document=mutated())
def test_a_changed_table_is_a_table_or_one_line(tmp_path: Path, document: dict[str, Any]) -> None:
    write_table(tmp_path, document)
    line = outcome(tmp_path)
    assert line is None or (line.isprintable() and line[-1] in ".?"), line


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_a_table_or_one_line(tmp_path: Path, data: st.DataObject) -> None:
    text = yaml.safe_dump(DOCUMENT, sort_keys=False)
    start = data.draw(st.integers(0, len(text)))
    end = min(len(text), start + data.draw(st.integers(0, 40)))
    put = data.draw(
        st.text(max_size=6) | st.sampled_from(["\t", "- ", ": ", "&a ", "*a", "!!python/object:os.system ", "{"])
    )
    (tmp_path / "table").mkdir(exist_ok=True)
    (tmp_path / "table" / "tiny.yaml").write_text(text[:start] + put + text[end:], errors="replace")
    line = outcome(tmp_path)
    assert line is None or (line.isprintable() and line[-1] in ".?"), line


def test_the_small_table_itself_is_one(tmp_path: Path) -> None:
    write_table(tmp_path, DOCUMENT)
    assert outcome(tmp_path) is None
    broken = copy.deepcopy(DOCUMENT)
    del broken["rows"]
    write_table(tmp_path, broken)
    assert outcome(tmp_path) == "table tiny: rows: is missing. Give keys and values."
