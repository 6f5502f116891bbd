"""What is wrong with a table's file is said in one line, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from command import Command
from small_table import write_table

from gradinc.config import groups
from gradinc.studies.tables.cells import compose_cells, open_table
from gradinc.studies.tables.listing import TableSize, sizes
from gradinc.studies.tables.reading import read_table
from gradinc.studies.tables.running import jobs_of

MISSING = object()


def changed(document: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """The document with what stands under a dotted key replaced, or taken out."""
    node: Any = document
    *sections, last = key.split(".")
    for section in sections:
        node = node[int(section) if section.isdigit() else section]
    if value is MISSING:
        del node[last]
    else:
        node[int(last) if isinstance(node, list) else last] = value
    return document


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("citation", MISSING, "citation: is missing. Give authors, title, arxiv and table."),
        ("citation.arxiv", MISSING, "citation.arxiv: is missing. Give it in the table's file."),
        ("citation.arxiv", "hep-th/1", "citation.arxiv=hep-th/1: need text like '2004.07211'."),
        ("citation.arxiv", 2004.0721, "citation.arxiv=2004.0721: need text like '2004.07211'."),
        ("citation.arxiv", "2413.00001", "citation.arxiv=2413.00001: need text like '2004.07211'."),
        ("citation.authors", "", "citation.authors=: need text."),
        ("citation.authors", " ", "citation.authors= : need text."),
        ("citation.year", 20200, "citation.year=20200: need a whole number ≥ 1900 and ≤ 2100 or null."),
        ("citation.autors", "X", "citation.autors: no such key. Did you mean authors?"),
        ("collumns", {}, "collumns: no such key. Did you mean columns?"),
        ("rows.slow.overides", [], "rows.slow.overides: no such key. Did you mean overrides?"),
        ("rows.slow.published.acuracy", "1", "rows.slow.published.acuracy: no such column. Did you mean accuracy?"),
        ("rows.slow.overrides", MISSING, "rows.slow.overrides: is missing. Write overrides: [strategy=NAME], [] for "),
        (
            "rows.slow.overrides",
            ["strategy=err"],
            "rows.slow, column accuracy: strategy=err: unknown. Did you mean er?",
        ),
        ("rows.slow.overrides", ["strategy er"], "rows.slow, column accuracy: strategy er: gradinc takes key=value."),
        ("rows.slow.n", 3, "rows.slow.n: no such key. One of title, overrides, cells, columns, seeds, published, "),
        (
            "columns.accuracy.unit",
            "percent",
            "columns.accuracy.unit=percent: 99.99 is no share of 1. Write unit",
        ),
        (
            "columns.accuracy.tolerance",
            "5",
            "columns.accuracy.tolerance=5: need a number > 0 and ≤ 1000000000.0 or null, ",
        ),
        ("title", MISSING, "title: is missing. Write it such as title: Digits, three methods."),
        ("seeds", MISSING, "seeds: is missing. Write it such as seeds: [0, 1, 2]."),
        ("protocol", "model=linear", "protocol=model=linear: need a list of text. Write [model=linear]."),
        ("seeds", [0, "1"], "seeds=[0,1]: need a list of whole numbers ≥ 0, and this is text. Leave out the quotes."),
        ("grade", MISSING, "rows.slow.published.accuracy.grade: is missing. Write grade: A, B, C or D, once "),
        ("data", "MNIST", "data=MNIST: no such data set. Did you mean mnist?"),
        (
            "rows.slow.published.accuracy",
            50.0,
            "rows.slow.published.accuracy=50.0: need a number in quotes, such as '85.01', '85.01 ± 1.90' or",
        ),
        (
            "spread",
            MISSING,
            "rows.slow.published.accuracy.spread: is missing. Say what follows the ±: sd, sem or ci95.",
        ),
        ("spread", "ci", "spread=ci: unknown. Did you mean ci95? Choose from: ci95, sd, sem."),
        ("n", "twenty", "n=twenty: need a whole number ≥ 1."),
        ("grade", "E", "grade=E: unknown. Choose from: A, B, C, D."),
        ("data", "digit", "data=digit: no such data set. Did you mean digits?"),
        ("digest", "c37e2e77", "digest=c37e2e77: need a sha256 of 64 digits or null."),
        ("data", MISSING, "data: is missing. Name the data set that the published numbers are of."),
        ("budget", "a lot", "budget=a lot: unknown. Choose from: cpu minutes, cpu hours, gpu."),
        ("seeds", [], "seeds=[]: need a list of whole numbers ≥ 0."),
        ("seeds", [1, 1], "seeds=[1,1]: has a seed twice. Write each seed once."),
        ("rows.fast.seeds", [1, 1], "rows.fast.seeds=[1,1]: has a seed twice. Write each seed once."),
        ("rows.fast.seeds", [], "rows.fast.seeds=[]: need a list of whole numbers ≥ 0 or null."),
        ("columns.accuracy.quantity", "acc", "columns.accuracy.quantity=acc: unknown. Did you mean metrics.acc?"),
        ("columns.accuracy.quantity", "accurcy", "columns.accuracy.quantity=accurcy: unknown."),
        (
            "columns.accuracy.quantity",
            "test.acuracy",
            "columns.accuracy.quantity=test.acuracy: no run records it. Did you mean test.accuracy? Choose ",
        ),
        (
            "columns.accuracy.quantity",
            "metrics.act",
            "columns.accuracy.quantity=metrics.act: no run records it. Did you mean metrics.acc? Choose from: metrics.",
        ),
        (
            "columns.accuracy.quantity",
            {"updates_to": {}},
            "columns.accuracy.quantity.updates_to.accuracy: is missing. Write quantity: {upd",
        ),
        (
            "columns.accuracy.quantity",
            {"updates_to": {"accuracy": 2.0}},
            "columns.accuracy.quantity.updates_to.accuracy=2.0: need a number ≥ 0 and ≤ 1.",
        ),
        ("columns.accuracy.tolerance", MISSING, "columns.accuracy.tolerance: is missing."),
        ("columns.accuracy.tolerance", float("inf"), "columns.accuracy.tolerance=inf: need a number > 0 and ≤ "),
        (
            "columns.accuracy.decimals",
            3_000_000_000,
            "columns.accuracy.decimals=3000000000: need a whole number ≥ 0 and ≤ 15.",
        ),
        ("rows.slow.published.accuracy", "9" * 400, "rows.slow.published.accuracy=99999999999999999999"),
        ("rows.slow.published.accuracy", "٥٠", "rows.slow.published.accuracy=٥٠: need a number in quotes"),
        ("rows.slow.columns", [], "rows.slow.columns=[]: need a list of text or null."),
        ("rows.slow.columns", ["accuracy", "accuracy"], "rows.slow.columns=[accuracy,accuracy]: has a column twice."),
        (
            "rows.slow.columns",
            ["steps"],
            "rows.slow.published.accuracy: is not among the row's columns. Add it to them.",
        ),
        ("rows.fast,slow", {}, "rows=fast,slow: need a word without spaces and commas."),
        ("claims", 3, "claims: is no list. Begin each claim with a dash."),
        ("claims", {"one": {}}, "claims: is no list. Begin each claim with a dash."),
        (
            "claims.0.against",
            {"row": "fast", "column": "accuracy"},
            "claims.0.against: is the cell that it is compared",
        ),
        ("claims.0.against.column", "steps", "claims.0: a difference of columns with different units, % and none."),
        (
            "rows.empty",
            {"title": "x", "overrides": [], "columns": ["steps"], "cells": {"accuracy": []}},
            "rows.empty.cells.accuracy: is not among",
        ),
        (
            "protocol.1",
            "fresh=true",
            "rows.slow, column accuracy: fresh=true: would make its runs again each time. Give it on the command line.",
        ),
        ("claims.0.of.row", "fsat", "claims.0.row=fsat: no such key. Did you mean fast?"),
        ("claims.0.better", "more", "claims.0.better=more: unknown. Choose from: higher, lower."),
        ("protocol.1", "modl=linear", "rows.slow, column accuracy: modl: no such key. Did you mean model?"),
        ("protocol.1", "model=liner", "rows.slow, column accuracy: model=liner: unknown."),
        ("rows.slow.overrides.0", "optimizer.lr=x", "rows.slow, column accuracy: optimizer.lr=x: need a number > 0."),
        ("protocol.1", "name=x", "rows.slow, column accuracy: name=x: is set by the table. Leave it out; "),
        ("rows.slow.overrides.0", "seed=7", "rows.slow, column accuracy: seed=7: is set by the table. Leave it out; "),
        ("protocol.1", "seed=1,2", "rows.slow, column accuracy: seed=1,2: has several values."),
        (
            "protocol",
            ["data=digits", "model=linear", "+data = digits"],
            "protocol: +data = digits: comes after data=digits in one list. Write each key once.",
        ),
        (
            "rows.slow.cells",
            {"accuracy": ["optimizer.lr=1", "optimizer.lr=2"]},
            "rows.slow.cells.accuracy: optimizer.lr=2: comes after optimizer.lr=1 in one list.",
        ),
    ],
)
def test_a_wrong_table_is_told_in_one_line_and_nothing_is_made(
    document: dict[str, Any], gradinc: Command, tmp_path: Path, key: str, value: Any, line: str
) -> None:
    write_table(tmp_path / "conf", changed(document, key, value))
    outcome = gradinc("table", "tiny", "--config-dir", "conf")
    assert outcome.code == 2
    assert outcome.err.startswith(f"table tiny: {line.rstrip()}"), outcome.err
    assert outcome.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


def test_a_row_may_set_what_the_protocol_has_set(document: dict[str, Any]) -> None:
    document["protocol"].append("optimizer.lr=3")
    document["rows"]["slow"] |= {"overrides": ["optimizer.lr=4"], "cells": {"accuracy": ["optimizer.lr=5"]}}
    cells = compose_cells(read_table("tiny", document), ["slow"], [0])
    assert {cell.column: cell.jobs[0].config.optimizer.options["lr"] for cell in cells} == {"accuracy": 5, "steps": 4}


@pytest.mark.parametrize("sign", ["±", "+-", "+/-"])
@pytest.mark.parametrize("printed", ["85.010 {} 1.9", "85.010{}<1.9", "85.010 ({} 1.9)", "85.010({}1.9 )"])
def test_a_printed_number_may_have_its_spread_in_parentheses(document: dict[str, Any], printed: str, sign: str) -> None:
    document["rows"]["slow"]["published"]["accuracy"] = printed.format(sign)
    number = read_table("tiny", document).rows["slow"].published["accuracy"]
    assert (number.mean, number.spread, number.unit, number.decimals) == (85.01, 1.9, 0.001, 3)


@pytest.mark.parametrize("printed", ["85.01 (1.90)", "85.01(90)", "85.01 (± 1.90", "85.01 ± 1.90)", "85.01 ± (1.90)"])
def test_a_number_in_parentheses_without_a_sign_is_refused(document: dict[str, Any], printed: str) -> None:
    from gradinc.base.errors import UserError

    document["rows"]["slow"]["published"]["accuracy"] = printed
    with pytest.raises(UserError, match="need a number in quotes"):
        read_table("tiny", document)


def test_a_claim_about_a_column_that_a_row_leaves_out_is_told(
    document: dict[str, Any], gradinc: Command, tmp_path: Path
) -> None:
    document["rows"]["fast"] = {**document["rows"]["fast"], "columns": ["steps"], "published": {}}
    write_table(tmp_path / "conf", document)
    line = "table tiny: claims.0.column=accuracy: row fast has no such column. Add it to the row's columns.\n"
    assert gradinc("table", "tiny", "--config-dir", "conf").err == line


def test_the_line_at_which_a_file_stops_being_yaml_is_told(
    document: dict[str, Any], gradinc: Command, tmp_path: Path
) -> None:
    write_table(tmp_path / "conf", document)
    path = tmp_path / "conf" / "table" / "tiny.yaml"
    path.write_text("title: first\nbudget: gpu\ntitle: second\n")
    outcome = gradinc("table", "tiny", "--config-dir", "conf")
    assert outcome.code == 2
    assert outcome.err.endswith(
        "tiny.yaml: cannot be read as YAML: line 3, found duplicate key title. Correct the file.\n"
    )


def test_what_is_asked_for_and_is_not_there_is_told(document: dict[str, Any], gradinc: Command, tmp_path: Path) -> None:
    write_table(tmp_path / "conf", document)
    wrong = {
        ("tinny",): "table tinny: unknown. Did you mean tiny? Choose from: tiny, ",
        ("tiny", "--rows", "slwo"): "--rows slwo: table tiny has no such row. Did you mean slow? Choose from: slow, ",
        ("tiny", "--seeds", "a"): "--seeds a: need whole numbers ≥ 0 with commas between them. ",
        ("tiny", "seed=3"): "seed=3: is set by the table. Use --seeds 0,1,2.",
        ("tiny", "optm.lr=1"): "optm.lr: no such key. Did you mean optimizer.lr?",
        ("tiny", "tiny"): "tiny: gradinc table takes one NAME and key=value. ",
        ("--collect",): "--collect: needs the NAME of a table. gradinc table without it lists them.",
        ("--seeds", "0"): "--seeds: needs the NAME of a table. ",
        ("tiny", "--drun"): "--drun: gradinc table does not take it. ",
    }
    for arguments, line in wrong.items():
        outcome = gradinc("table", *arguments, "--config-dir", "conf")
        assert (outcome.code, outcome.err[: len(line)]) == (2, line)
    own, near = gradinc("table", "of_my_own"), gradinc("table", "der_splitt")
    assert own.err.endswith("; a table of your own needs --config-dir DIR.\n")
    assert "--config-dir" not in near.err
    assert [path.name for path in tmp_path.iterdir()] == ["conf"]


@pytest.mark.parametrize("name", groups.names("table"))
def test_every_table_that_ships_is_right_and_every_run_of_it_composes(name: str, empty: Path) -> None:
    table = open_table(name)
    cells = compose_cells(table, list(table.rows))
    assert any(cell.jobs for cell in cells)
    (size,) = sizes([table])
    composed = TableSize(sum(cell.missing is None for cell in cells), len(cells), 0, len(jobs_of(cells)))
    assert size == composed, "a list of tables counts runs without composing them"
    for row in table.rows.values():
        assert row.published or table.data != "mnist" or row.note or "ours" in row.title


def test_a_wrong_row_stops_no_other_row(document: dict[str, Any]) -> None:
    from gradinc.base.errors import UserError

    document["rows"]["fast"]["overrides"] = ["optimizer.lr=x"]
    table = read_table("tiny", document)
    with pytest.raises(UserError, match=r"rows\.fast, column accuracy: optimizer\.lr=x: need a number"):
        compose_cells(table, ["slow", "fast"], [0])
    found = compose_cells(table, ["slow"], [0], beside=["fast", "slow"])
    assert [(cell.row, bool(cell.jobs)) for cell in found[::2]] == [("slow", True), ("fast", False)]
    assert "optimizer.lr=x: need a number" in str(found[2].missing)


def test_a_code_to_run_in_a_table_is_refused(document: dict[str, Any]) -> None:
    from gradinc.base.errors import UserError

    document["columns"]["accuracy"]["_target_"] = "os.system"
    with pytest.raises(UserError, match="_target_: a config cannot name code to run"):
        read_table("tiny", document)


def test_an_option_goes_to_the_rows_that_have_its_part_and_adds_nothing(document: dict[str, Any]) -> None:
    from gradinc.base.errors import UserError

    document["rows"]["slow"]["overrides"] = ["strategy=er"]
    document["rows"]["fast"]["overrides"] = ["strategy=ewc"]
    document["protocol"].append("stream=split")
    table = read_table("tiny", document)
    cells = compose_cells(table, ["slow", "fast"], [0], ["strategy.methods.er.memory=77"])
    strategies = {cell.row: cell.jobs[0].config.strategy.methods for cell in cells}
    assert (list(strategies["slow"]), list(strategies["fast"])) == (["er"], ["ewc"])
    assert strategies["slow"]["er"]["memory"] == 77
    commands = {cell.row: str(cell.command) for cell in cells}
    assert ("memory=77" in commands["slow"], "memory=77" in commands["fast"]) == (True, False)
    with pytest.raises(UserError, match=r"^strategy\.methods\.er\.memory: strategy=ewc has no method er"):
        compose_cells(table, ["fast"], [0], ["strategy.methods.er.memory=77"])
    document["rows"]["fast"]["overrides"].append("strategy.methods.er.memory=77")
    with pytest.raises(UserError, match=r"rows\.fast, column accuracy: strategy\.methods\.er\.memory: strategy=ewc"):
        compose_cells(read_table("tiny", document), ["fast"], [0])
