"""Numbers about strategies that are on the pages of docs/: costs, results of tables, results of streams."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

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


def for_sequences() -> set[str]:
    """Return the strategies for a sequence of tasks."""
    return {name for name, row in costs().items() if "kept" in row}


def streams(name: str) -> Iterator[Row]:
    """Yield a strategy's results on streams of Fashion-MNIST, with the bounds of the same stream."""
    for section in re.split(r"^### ", _page("incremental.md"), flags=re.MULTILINE)[1:]:
        title = section.partition("\n")[0]
        rows = {row["strategy"]: row for row in rows_of(section) if {"strategy", "ACC %"} <= set(row)}
        if name in rows and {"finetune", "joint"} <= set(rows):
            yield {
                "stream": title,
                "ACC %": rows[name]["ACC %"],
                "BWT %": rows[name]["BWT %"],
                "finetune": rows["finetune"]["ACC %"],
                "joint": rows["joint"]["ACC %"],
            }


@cache
def _tables() -> dict[str, dict[str, tuple[set[str], Path]]]:
    """Return, for each table with a page of results, the strategies of each row's title."""
    found: dict[str, dict[str, tuple[set[str], Path]]] = {}
    for path in sorted((groups.conf_folder() / "table").glob("*.yaml")):
        page = DOCS / "results" / f"{path.stem}.md"
        if page.exists():
            rows = yaml.safe_load(path.read_text(encoding="utf-8")).get("rows") or {}
            found[path.stem] = {
                re.sub(r"([\\_*])", r"\\\1", row.get("title", "")): (_strategies(row), page) for row in rows.values()
            }
    return found


def _strategies(row: dict) -> set[str]:
    words = [str(word) for word in row.get("overrides") or () if str(word).startswith("strategy=")]
    return {name for word in words for name in word.removeprefix("strategy=").strip("[]").split(",")}


def published(name: str) -> Iterator[Row]:
    """Yield the cells of published tables whose row uses a strategy."""
    for table, titles in _tables().items():
        mine = {title: page for title, (names, page) in titles.items() if name in names}
        for row in rows_of(next(iter(mine.values())).read_text(encoding="utf-8")) if mine else ():
            if row.get("method") in mine and {"published", "ours", "verdict"} <= set(row):
                yield {"table": table, **row}
