"""A table of one's own: without printed numbers it needs no citation, and its LaTeX has a row for each method."""

from __future__ import annotations

from typing import Any

import pytest
from latex import latex_tables

from gradinc.base.errors import UserError
from gradinc.studies.tables.cells import compose_cells
from gradinc.studies.tables.document import table_document
from gradinc.studies.tables.reading import read_table
from gradinc.studies.tables.rendering import FILES
from gradinc.studies.tables.texts import facts

OWN: dict[str, Any] = {
    "title": "Mine",
    "seeds": [0, 1],
    "protocol": ["model=linear"],
    "columns": {
        "test": {"title": "test accuracy", "quantity": "test.accuracy", "unit": "%"},
        "steps": {"title": "updates_made", "quantity": "steps", "decimals": 0},
    },
    "rows": {
        "slow": {"title": "slow & sure", "overrides": ["optimizer.lr=0.01"]},
        "fast": {"title": "fast", "overrides": []},
    },
}


def test_it_needs_no_citation_and_no_budget(tmp_path: Any) -> None:
    table = read_table("mine", {**OWN, "rows": {"slow": OWN["rows"]["slow"]}})
    document = table_document(table, compose_cells(table, ["slow"], [0, 1], [f"output={tmp_path}"]), {})
    assert table.citation is None
    assert "None" not in " ".join(facts(document))
    assert all("None" not in render(document).replace("None yet", "") for render in (FILES["md"], FILES["tex"]))


def test_a_published_number_needs_one() -> None:
    rows = {"slow": {**OWN["rows"]["slow"], "published": {"test": "50.0"}}}
    with pytest.raises(UserError, match=r"citation: is missing\. Give authors, title, arxiv and table"):
        read_table("mine", {**OWN, "rows": rows, "grade": "A"})


def test_authors_of_a_table_without_numbers_are_welcome() -> None:
    table = read_table("mine", {**OWN, "citation": {"title": "Our paper", "authors": "We et al.", "year": 2030}})
    assert str(table.citation) == "We et al. 2030, Our paper"


def test_latex_has_a_row_for_each_method_and_a_column_for_each_quantity(tmp_path: Any) -> None:
    table = read_table("mine", {**OWN, "rows": {"slow": OWN["rows"]["slow"]}})
    text = FILES["tex"](table_document(table, compose_cells(table, ["slow"], [0], [f"output={tmp_path}"]), {}))
    (found,) = latex_tables(text)
    head = ["", "$n$", r"test accuracy (\%)", r"updates\_made"]
    assert found == [head, [r"slow \& sure", "0", "--", "--"]]
    assert r"\hline" not in text
