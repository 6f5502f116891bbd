"""A table's document as Markdown, CSV, LaTeX and JSON."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gradinc.base.text import printable
from gradinc.records.statistics import SPREADS, SpreadKind, spread_of
from gradinc.records.tabular import latex_counts, latex_escaped, latex_mark, latex_number, latex_table
from gradinc.studies.tables.specification import PRINTED
from gradinc.studies.tables.texts import (
    CLAIM_HEAD,
    FLAGS,
    MARKS,
    changed_text,
    claim_lines,
    code_text,
    counts_text,
    facts,
    grid_texts,
    printed_text,
    runs_lines,
)


def table_markdown(document: Mapping[str, Any], level: int = 1) -> str:
    """Return the whole table as Markdown.

    Args:
        level: level of its heading.
    """
    head, body = grid_texts(document)
    parts = [f"{'#' * level} {_md(document['title'])}", *map(_md, facts(document)), _md_grid(head, body)]
    if document["claims"] or document["unmeasured"]:
        if document["claim_rule"]:
            parts.append(_md("Rule of the claims: " + document["claim_rule"]))
        parts.append(_md_grid(CLAIM_HEAD, claim_lines(document)))
    notes = [f"{row['title']}: {row['note']}" for row in document["rows"] if row["note"]]
    if notes or document["notes"]:
        parts.append("\n".join(f"- {_md(note)}" for note in [*document["notes"], *notes]))
    parts.append(_md(" ".join(each for each in (code_text(document), counts_text(document)) if each)))
    runs = [f"- {_md(what)}. {_md(time)}\n\n      {printable(command)}" for what, time, command in runs_lines(document)]
    if runs:
        parts.append("<details><summary>Runs and commands</summary>\n\n" + "\n".join(runs) + "\n\n</details>")
    return "\n\n".join(parts) + "\n"


def comma_separated(document: Mapping[str, Any]) -> str:
    """Return one line per cell, with its numbers in full."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    names = ("row", "column", "published", "published_grade", "mean", "sd", "n", "difference", "half_width")
    writer.writerow([*names, "verdict", "reason", "seconds", "runs", "command"])
    for row in document["rows"]:
        for cell in row["cells"]:
            published, ours = cell["published"] or {}, cell["ours"] or {}
            own: tuple[Any, ...] = (
                ours.get("mean"),
                ours.get("sd"),
                ours.get("n", 0),
                cell["difference"],
                cell["half_width"],
            )
            reason = "; ".join(dict.fromkeys([*([cell["reason"]] if cell["reason"] else []), *cell["marks"]]))
            ends: tuple[Any, ...] = (cell["verdict"], reason, cell["seconds"], " ".join(cell["runs"]), cell["command"])
            begins = (row["row"], cell["column"], published.get("printed"), published.get("grade"))
            writer.writerow([_csv(each) for each in (*begins, *own, *ends)])
    for claim in document["claims"]:
        numbers = (claim["estimate"], None, claim["pairs"], claim["low"], claim["high"])
        ends = (claim["verdict"], claim["reason"], None, None, None)
        writer.writerow([_csv(each) for each in ("claim", claim["claim"], None, None, *numbers, *ends)])
    return out.getvalue()


def latex(document: Mapping[str, Any]) -> str:
    """Return a ``tabular`` with a row for each method, its number of runs and a column for each quantity.

    Others have the comparison with the printed numbers, and the claims. Letters refer to the notes below a table.
    """
    said = [document["title"], *([document["citation"]] if document["citation"] else [])]
    said.append(f"Mean and {SPREADS[document['spread']]}; n: number of runs")
    changed = changed_text(document)
    columns = {cell["column"]: cell for row in document["rows"] for cell in row["cells"]}
    heads = [_tex(cell["title"] + (f" ({cell['unit']})" if cell["unit"] else "")) for cell in columns.values()]
    rows = [{**row, "cells": [_cell_of(row, column) for column in columns]} for row in document["rows"]]
    lines = [_tex_row(row, document["spread"]) for row in rows]
    verdicts = {cell["verdict"] for row in document["rows"] for cell in row["cells"] if _mark(cell)}
    notes = [_tex_notes({mark: verdict for verdict, mark in MARKS.items() if verdict in verdicts}), _tex(changed)]
    comment = _one_line(". ".join([*said, *([changed] if changed else [])]))
    parts = [latex_table(["", "$n$", *heads], lines, comment=comment, notes=notes)]
    if document["rule"]:
        flags = {flag for row in document["rows"] for cell in row["cells"] for flag in cell["flags"]}
        notes = [printed_text(document), *(f"{flag}: {FLAGS[flag]}." for flag in sorted(flags))]
        parts.append(_tex_grid(*grid_texts(document), notes))
    if document["claims"]:
        parts.append(_tex_grid(CLAIM_HEAD, claim_lines(document)))
    return "\n".join(parts)


def as_json(document: Mapping[str, Any]) -> str:
    """Return the document as JSON."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


FILES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "md": table_markdown,
    "csv": comma_separated,
    "tex": latex,
    "json": as_json,
}
"""Formats by the ending of the file's name."""

FORMULA = ("=", "@", "+", "-")
"""First characters that make a spreadsheet read a text as a formula."""


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _md(text: str) -> str:
    text = _one_line(text)
    for letter, instead in (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(letter, instead)
    return re.sub(r"[|*_\[`$~]", r"\\\g<0>", text)


def _md_grid(head: Any, body: Any) -> str:
    rows = [tuple(head), tuple("---" for _ in head), *(tuple(map(_md, line)) for line in body)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _cell_of(row: Mapping[str, Any], column: str) -> Mapping[str, Any]:
    return next(
        (cell for cell in row["cells"] if cell["column"] == column), {"ours": None, "published": None, "decimals": 0}
    )


def _tex_row(row: Mapping[str, Any], kind: SpreadKind) -> list[str]:
    """Return a method, its number of runs, and our numbers, one for each column of the table."""
    numbers, counts = [], []
    for cell in row["cells"]:
        ours = cell["ours"] or {"mean": None, "sd": None, "n": 0}
        width = spread_of(ours["sd"], ours["n"], kind)
        numbers.append(latex_number(ours["mean"], width, cell["decimals"], mark=_mark(cell)))
        if "verdict" in cell:
            counts.append(ours["n"])
    return [_tex(row["title"]), latex_counts(counts), *numbers]


def _mark(cell: Mapping[str, Any]) -> str:
    """Return the letter of a number's verdict; empty without a number of ours or without a printed one."""
    return MARKS[cell["verdict"]] if cell["ours"] and cell["published"] else ""


def _tex_notes(meanings: Mapping[str, str]) -> str:
    return ", ".join(f"${latex_mark(letter)}$ {_tex(meaning)}" for letter, meaning in meanings.items())


def _tex(text: str) -> str:
    return latex_escaped(_one_line(text))


def _tex_grid(head: Any, body: Any, notes: Sequence[str] = ()) -> str:
    rows = [[_tex(text) for text in line] for line in body]
    return latex_table([_tex(name) for name in head], rows, texts=len(head), notes=[_tex(note) for note in notes])


def _csv(item: Any) -> Any:
    """Return a field. Text that a spreadsheet would read as a formula gets an apostrophe; a printed number does not."""
    if isinstance(item, str):
        item = printable(item)
        return f"'{item}" if item.lstrip().startswith(FORMULA) and not PRINTED.fullmatch(item) else item
    return item
