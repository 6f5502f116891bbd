"""The site has a page of everything public, and refuses to be built without one."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest
from website import Incomplete, api, commands, keys, papers, parts, shown, stage

import gradinc
from gradinc.cli.main import COMMANDS
from gradinc.config import catalog, groups
from gradinc.config.catalog import PLURALS
from gradinc.config.compose import compose_jobs

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """All pages that are made from the code."""
    return {
        name: text
        for made in (parts.pages(), keys.key_pages(), commands.command_pages(), api.api_pages())
        for name, text in made
    }


def test_every_part_key_command_and_public_name_has_its_page(pages: dict[str, str]) -> None:
    for kind in catalog.KINDS:
        for part in catalog.parts(kind):
            page = pages[f"reference/{PLURALS[kind]}/{part.name}"]
            assert "def __init__" in page or "def " in page or "class " in page
            assert [option for option in part.parameters if f"| `{option}` |" not in page] == []
    strategies = set(groups.names("strategy"))
    assert {name for name in strategies if any(f"/{name}" == key[key.rfind("/") :] for key in pages)} == strategies
    assert [name for name in COMMANDS if f"$ gradinc {name}" not in pages[f"reference/commands/{name}"]] == []
    names = [name for name in gradinc.__all__ if not name.startswith("_")]
    assert [name for name in names if f":: gradinc.{name}\n" not in pages["reference/api"]] == []
    assert pages["reference/keys"].count("| `") > 80


def test_a_method_s_page_has_its_formula_options_cost_results_and_source(pages: dict[str, str]) -> None:
    page = pages["reference/methods/agem"]
    for text in (
        "$$\ng \\leftarrow",
        "| `memory` |",
        "eprint = {1812.00420}",
        "gradinc train stream=split strategy=agem",
    ):
        assert text in page
    for heading in ("Options", "What it keeps", "Cost", "Where it works and where it fails", "BibTeX", "The file"):
        assert f"\n## {heading}\n" in page
    assert (catalog.PACKAGE / "methods" / "agem.py").read_text(encoding="utf-8").strip() in page


def test_a_page_says_where_its_method_works_and_fails(pages: dict[str, str]) -> None:
    """From its docstring, and from the tables: beside the row without a method of the same model, and the best row."""
    page = pages["reference/methods/agem"]
    assert "One constraint for all of them keeps much less than replay" in page
    (row,) = re.findall(r"^\| \[text_clinc150\].*text\\_cnn: A-GEM.*\| ACC \|.*$", page, re.MULTILINE)
    assert "(text\\_cnn: finetuning)" in row
    for line in re.findall(r"^\| Fashion-MNIST, split, class-incremental \|.*$", page, re.MULTILINE):
        assert "(derpp)" in line
    assert "No run of it is among [our results]" in pages["reference/methods/mir"]
    assert "No run of it" not in page


def test_a_part_without_docstring_formula_or_paper_stops_the_build() -> None:
    part = catalog.part("method", "sam")
    with pytest.raises(Incomplete, match="sam has no docstring"):
        parts.part_page(replace(part, summary=""))
    with pytest.raises(Incomplete, match="no formula in LaTeX"):
        parts.formula(part, "The gradient uphill.")
    paper, title, authors = (
        "Foret 2021, arXiv 2010.01412",
        "Title: Sharpness\n",
        "Authors: Pierre Foret, Ariel Kleiner\n",
    )
    assert "author = {Pierre Foret and Ariel Kleiner}" in papers.bibtex("sam.py", paper, title + authors)
    with pytest.raises(
        Incomplete, match=r"sam\.py: 'Foret 2021, arXiv 2010\.01412' needs a line Title: and a line Auth"
    ):
        papers.bibtex("sam.py", paper, title)
    with pytest.raises(Incomplete, match="begin with Foret, and Paper: says 'Somebody 2021"):
        papers.bibtex("sam.py", "Somebody 2021, arXiv 2010.01412", title + authors)


def test_parts_of_one_paper_cite_it_alike(pages: dict[str, str]) -> None:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for entry in re.findall(r"@misc\{.*?\n\}", "".join(pages.values()), re.DOTALL):
        found[re.findall(r"eprint = \{(.+)\}", entry)[0]].add(entry)
    assert len(found) > 60
    assert [entries for entries in found.values() if len(entries) > 1] == []


def test_a_key_a_command_or_a_name_without_its_text_stops_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "commented", lambda path: [("seed", "0", "")])
    with pytest.raises(Incomplete, match=r"conf/config\.yaml: seed has no line"):
        dict(keys.key_pages())
    monkeypatch.setattr(commands, "COMMANDS", {"runs": "list runs"})
    with pytest.raises(Incomplete, match="the line of runs has no example"):
        dict(commands.command_pages())
    monkeypatch.setattr(gradinc.UserError, "__doc__", None)
    with pytest.raises(Incomplete, match="UserError has no docstring"):
        api.check_documented("gradinc.UserError")


def test_the_command_of_a_part_s_page_composes() -> None:
    given = [f"{choice} {more}" for choice, more in parts.WITH.items() if not re.search(r"\b[A-Z]{3,}\b", more)]
    assert len(given) > 8
    for words in given:
        assert compose_jobs([word for word in words.split() if word != "-m"], multirun="-m" in words.split())


def test_a_link_that_the_site_cannot_follow_is_refused() -> None:
    page = DOCS / "results" / "README.md"
    assert stage.target("../tables.md", page) == "/tables.md"
    assert stage.target("../../gradinc/methods/sam.py", page) == "/reference/methods/sam.md"
    with pytest.raises(Incomplete, match="no page for"):
        stage.target("../../gradinc/core/window.py", page)


def test_the_loop_of_the_page_about_loops_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    page = (DOCS / "own_loop.md").read_text(encoding="utf-8")
    loop = next(text for language, text in shown.BLOCK.findall(page) if language == "python")
    exec(compile(loop, "own_loop.md", "exec"), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed == ["3 3", "3 6"]
    assert "prints " + " and ".join(f"`{line}`" for line in printed) in page
