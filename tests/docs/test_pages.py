"""README, CHANGELOG and docs/: links lead somewhere, commands exist, and the index of results matches its pages."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

import gradinc
from gradinc.cli.main import COMMANDS, main
from gradinc.studies.tables.cells import compose_cells, open_table

ROOT = Path(__file__).parents[2]
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """The names that a page's headings have in links."""
    titles = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(page: Path) -> list[str]:
    """The links of a page to a file or a heading that is missing."""
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    found = []
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        if "://" not in link and (not target.exists() or (anchor and anchor not in anchors(target))):
            found.append(link)
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page):
    assert broken_links(page) == []


def test_a_link_to_a_missing_file_or_heading_is_found(tmp_path):
    (tmp_path / "other.md").write_text("# A title, here\n")
    page = tmp_path / "page.md"
    page.write_text("[a](other.md#a-title-here) [b](other.md#gone) [c](gone.md) [d](#gone)\n")
    assert broken_links(page) == ["other.md#gone", "gone.md", "#gone"]


def test_the_pages_and_the_index_of_results_match_the_json_files():
    done = subprocess.run([sys.executable, ROOT / "scripts" / "results_page", "--check"], capture_output=True)
    assert done.returncode == 0, "run scripts/results_page: " + done.stderr.decode()


PUBLISHED = [path for path in sorted((ROOT / "docs" / "results").glob("*.json")) if path.stem != "mistakes"]
"""The values of all tables but one, whose wrong methods are parts of a test."""


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_the_runs_of_the_results_are_those_that_their_table_asks_for_today(path):
    """A new option that is missing in `YOUNGER_KEYS` gives old runs other settings, and `--from` would lose them."""
    document, table = json.loads(path.read_text()), open_table(path.stem)
    shown = {(row["row"], cell["column"]) for row in document["rows"] for cell in row["cells"] if cell["runs"]}
    first = [cell for cell in compose_cells(table, list(table.rows), [0]) if (cell.row, cell.column) in shown]
    lost = [(cell.row, cell.column) for cell in first if cell.settings[0] not in document["measured"]]
    assert first
    assert not lost


def test_every_test_file_of_a_promise_exists():
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    names = re.findall(r"\btest_\w+\.py\b", text)
    assert len(set(names)) > 20
    assert [name for name in names if not list((ROOT / "tests").rglob(name))] == []


def commands(text: str) -> list[list[str]]:
    """The commands of gradinc in a page's indented blocks, as words."""
    lines = re.findall(r"^    (?:\$ )?(gradinc [^&\n]+)", text, re.MULTILINE)
    return [shlex.split(line, comments=True)[1:] for line in lines]


TEXTS = [page.read_text(encoding="utf-8") for page in PAGES if page.parent != ROOT / "docs" / "results"]
SHOWN = [words for text in TEXTS for words in commands(text)]


def test_every_command_shown_and_every_option_of_it_exists(capsys):
    assert len(SHOWN) > 60
    for name in {words[0] for words in SHOWN}:
        assert name in COMMANDS, f"gradinc {name}"
        with suppress(SystemExit):
            main([name, "--help"])
        page = capsys.readouterr().out
        options = {word for words in SHOWN if words[0] == name for word in words if word.startswith("--")} - {"--"}
        assert [option for option in options if option not in page and option != "--cfg"] == [], f"gradinc {name}"


def test_every_file_that_the_architecture_names_exists():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`([\w/.]+\.(?:py|toml))`", text))
    assert len(names) > 40
    paths = [*(ROOT / "gradinc").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), ROOT / "pyproject.toml"]
    files = {path.relative_to(ROOT).as_posix() for path in paths}
    assert [name for name in names if not any(f"/{file}".endswith(f"/{name}") for file in files)] == []


def test_the_version_is_the_same_everywhere():
    version, date = re.findall(r"^## (\S+) \((\S+)\)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[0]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert gradinc.__version__ == version == str(cited["version"])
    assert date == str(cited["date-released"])


def test_the_extras_are_named():
    extras = set(
        tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    )
    for page, names in (("README.md", extras), ("docs/start.md", extras - {"docs", "dev"})):
        text = (ROOT / page).read_text(encoding="utf-8")
        assert [name for name in sorted(names) if f"`{name}`" not in text] == [], page
