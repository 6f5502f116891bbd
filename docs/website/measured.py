"""Numbers about strategies that are on the pages of docs/: costs, results of tables, results of streams."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import yaml

from gradinc.config import groups

DOCS = Path(__file__).parents[1]

Row = dict[str, str]


def rows_of(text: str) -> Iterator[Row]:
    """Yield each row of each table in a page, by the heads of its columns."""
    heads: list[str] | None = None
    for line in text.splitlines():
        if not line.startswith("|"):
            heads = None
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if heads is None:
            heads = cells
        elif not set(line) <= set("|- :"):
            yield dict(zip(heads, cells, strict=False))


@cache
def _page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


@cache
def costs() -> dict[str, Row]:
    """Return the measured cost of strategies: rows through the model, and memory or what is kept."""
    found = {}
    for name, column in (("strategies.md", "memory"), ("incremental.md", "kept")):
        for row in rows_of(_page(name)):
            if {"name", "rows", column} <= set(row):
                found[row["name"].partition("]")[0].strip("[")] = row
    return found


def streams(name: str) -> Iterator[Row]:
    """Yield a strategy's results on streams of Fashion-MNIST, beside the bounds and the best strategy of the stream."""
    for section in re.split(r"^### ", _page("incremental.md"), flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        rows = {row["strategy"]: row for row in rows_of(section) if {"strategy", "ACC %"} <= set(row)}
        if name in rows and {"finetune", "joint"} <= set(rows):
            among = {other: row["ACC %"] for other, row in rows.items() if other != "joint"}
            yield {
                "stream": title,
                "ACC %": rows[name]["ACC %"],
                "BWT %": rows[name]["BWT %"],
                "finetune": among["finetune"],
                "best": best(among),
                "joint": rows["joint"]["ACC %"],
            }


def best(values: dict[str, str]) -> str:
    """Return the largest of some means, with its name."""
    name = max(values, key=lambda name: _mean(values[name]))
    return f"{values[name]} ({name})"


def _mean(text: str) -> float:
    return float(text.split()[0])


class _Table(NamedTuple):
    """A table with a page of results.

    Attributes:
        rows: the overrides of each row, by the row's title as the page has it.
        accuracies: the titles of its columns that are accuracies.
        measured: the rows of its page with a number of ours, by title and column.
    """

    rows: dict[str, list[str]]
    accuracies: set[str]
    measured: dict[str, Row]

    def plain(self, title: str, among: Iterable[str]) -> str | None:
        """Return which of some rows has no method and otherwise the settings that are closest to a row's."""
        settings = _others(self.rows[title])
        without = [other for other in among if strategies(self.rows[other]) <= {"finetune", "sgd"}]
        return min(without, key=lambda other: len(settings ^ _others(self.rows[other])), default=None)


@cache
def _tables() -> dict[str, _Table]:
    found = {}
    for path in sorted((groups.conf_folder() / "table").glob("*.yaml")):
        page = DOCS / "results" / f"{path.stem}.md"
        if page.exists():
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            columns = {_escaped(column["title"]): column["quantity"] for column in content["columns"].values()}
            rows = {_escaped(row["title"]): [*map(str, row.get("overrides") or ())] for row in content["rows"].values()}
            accuracies = {title for title, quantity in columns.items() if re.search("acc|online", _kind(quantity))}
            measured = defaultdict(dict)
            for row in rows_of(page.read_text(encoding="utf-8")):
                if re.match(r"-?\d", row.get("ours", "")):
                    measured[row["method"]][row.get("quantity", next(iter(columns)))] = row
            found[path.stem] = _Table(rows, accuracies, measured)
    return found


def _kind(quantity: str | dict) -> str:
    return quantity if isinstance(quantity, str) else next(iter(quantity))


def _escaped(title: str) -> str:
    """Return a title as a page of results has it."""
    return re.sub(r"([\\_*])", r"\\\1", title)


def strategies(overrides: list[str]) -> set[str]:
    """Return the strategies that a row of a table chooses."""
    words = [word for word in overrides if word.startswith("strategy=")]
    return {name for word in words for name in word.removeprefix("strategy=").strip("[]").split(",")}


def _others(overrides: list[str]) -> set[str]:
    return {word for word in overrides if not word.startswith("strategy")}


def of_tables(name: str) -> Iterator[Row]:
    """Yield the cells of tables whose row uses a strategy, beside the row without a method and the best row.

    If a table measures accuracies, these are its cells here; the others are on the table's page. Joint training is not
    among the best rows.
    """
    for table, found in _tables().items():
        rivals = [row for row, words in found.rows.items() if not strategies(words) & {"joint", "cumulative"}]
        for title in (title for title, words in found.rows.items() if name in strategies(words)):
            cells = found.measured.get(title, {})
            for column in [column for column in cells if column in found.accuracies] or cells:
                ours = {
                    row: found.measured[row][column]["ours"] for row in rivals if column in found.measured.get(row, {})
                }
                plain = found.plain(title, ours)
                yield {
                    "table": table,
                    "row": title,
                    "quantity": column,
                    "ours": cells[column]["ours"],
                    "without": f"{ours[plain]} ({plain})" if plain is not None else "–",
                    "best": best(ours) if column in found.accuracies and ours else "–",
                    "published": cells[column].get("published", "–"),
                    "verdict": cells[column].get("verdict", "–").partition(" (")[0],
                }
