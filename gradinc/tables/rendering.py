"""A table's document as text: Markdown, CSV, LaTeX, JSON, and for the terminal."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from gradinc.commands.arguments import printable
from gradinc.results.shown import NONE, duration_text

STYLES = {
    "reproduced": "green",
    "supported": "green",
    "differs": "bold red",
    "contradicted": "bold red",
    "interval too wide": "yellow",
    "not shown": "yellow",
    "not judged": "dim",
}
HEAD = ("method", "quantity", "published", "ours", "difference", "verdict")
CLAIM_HEAD = ("claim", "measured", "smallest that counts", "verdict")


def lines(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The cells as texts, one a line, under `HEAD`."""
    found: list[tuple[str, ...]] = []
    for row in document["rows"]:
        for cell in row["cells"]:
            found.append(
                (
                    row["title"],
                    cell["title"],
                    published_text(cell),
                    ours_text(cell),
                    difference_text(cell),
                    verdict_text(cell),
                )
            )
    return found


def claim_lines(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """The claims as texts, one a line, under `CLAIM_HEAD`."""
    found = [(c["claim"], _measured_text(c), _effect_text(c), _claim_verdict(c)) for c in document["claims"]]
    return found + [(claim, NONE, NONE, f"not shown ({why})") for claim, why in document["unmeasured"].items()]


def published_text(cell: Mapping[str, Any]) -> str:
    """The printed number, with what a reader must know of it."""
    published = cell["published"]
    if published is None:
        return NONE
    secondary = f" [{published['grade']}: secondary source]" if published["secondary"] else ""
    if not secondary and published["spread_grade"] in ("C", "D"):
        secondary = f" [spread {published['spread_grade']}: secondary source]"
    return f"{published['printed']}{_unit(cell)}{secondary}"


def ours_text(cell: Mapping[str, Any]) -> str:
    """Mean, standard deviation and number of runs, of those that are asked for where some are missing."""
    ours = cell["ours"]
    if ours is None:
        return NONE
    places = cell["decimals"]
    spread = "" if ours["sd"] is None else f" ± {ours['sd']:.{places}f}"
    of = f" of {len(cell['seeds'])}" if len(cell["seeds"]) != ours["n"] else ""
    return f"{ours['mean']:.{places}f}{spread}{_unit(cell)} ({ours['n']}{of})"


def difference_text(cell: Mapping[str, Any]) -> str:
    """Ours less the printed number, with h, where they can be compared."""
    if cell["difference"] is None or not cell["comparable"]:
        return NONE
    places = cell["decimals"]
    half = "" if cell["half_width"] is None else f" ± {cell['half_width']:.{places}f}"
    flags = "".join(cell["flags"])
    return f"{cell['difference']:+.{places}f}{half}{flags and ' ' + flags}"


def verdict_text(cell: Mapping[str, Any]) -> str:
    """The verdict, or why there is none, and what else stands in its way."""
    more = [cell["reason"]] if cell["reason"] else []
    more += [mark for mark in cell["marks"] if mark not in (cell["reason"] or "") and cell["ours"] is not None]
    return cell["verdict"] + (f" ({'; '.join(more)})" if more else "")


def facts(document: Mapping[str, Any]) -> list[str]:
    """What stands between the title and the table."""
    found = [document["citation"]]
    if document["grades"]:
        grades = "; ".join(f"{grade}: {words}" for grade, words in document["grades"].items())
        found.append(f"Grades of the printed numbers: {grades}.")
    found.append("Protocol: " + " ".join(document["protocol"]))
    found.append("Ours: mean ± standard deviation (number of runs).")
    if document["rule"]:
        found.append("Rule: " + document["rule"])
    return found


def runs_lines(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """For each cell: what it is, its wall time and runs, and the command that makes them."""
    found = []
    for row in document["rows"]:
        for cell in row["cells"]:
            if cell["command"] is not None:
                names = ", ".join(cell["runs"]) or "no run yet"
                time = duration_text(cell["seconds"] if cell["runs"] else None)
                found.append((f"{row['title']}, {cell['title']}", f"{time}: {names}", cell["command"]))
    return found


def markdown(document: Mapping[str, Any], level: int = 1) -> str:
    """The whole table as Markdown.

    Args:
        level: of its heading.
    """
    head, body = _shown_columns(document)
    parts = [f"{'#' * level} {_md(document['title'])}", *map(_md, facts(document)), _md_grid(head, body)]
    if document["claims"] or document["unmeasured"]:
        if document["claim_rule"]:
            parts.append(_md("Rule of the claims: " + document["claim_rule"]))
        parts.append(_md_grid(CLAIM_HEAD, claim_lines(document)))
    notes = [f"{row['title']}: {row['note']}" for row in document["rows"] if row["note"]]
    if notes or document["notes"]:
        parts.append("\n".join(f"- {_md(note)}" for note in [*document["notes"], *notes]))
    parts.append(_md(_code_text(document)))
    runs = [f"- {_md(what)}. {_md(time)}\n\n      {printable(command)}" for what, time, command in runs_lines(document)]
    if runs:
        parts.append("<details><summary>Runs and commands</summary>\n\n" + "\n".join(runs) + "\n\n</details>")
    return "\n\n".join(parts) + "\n"


def comma_separated(document: Mapping[str, Any]) -> str:
    """One line a cell, with its numbers in full."""
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
    """A ``tabular`` for each of the cells and the claims."""
    head, body = _shown_columns(document)
    parts = [f"% {_one_line(document['title'])}. {_one_line(document['citation'])}", _tex_grid(head, body)]
    if document["claims"]:
        parts.append(_tex_grid(CLAIM_HEAD, claim_lines(document)))
    return "\n\n".join(parts) + "\n"


def as_json(document: Mapping[str, Any]) -> str:
    """The document itself."""
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


FILES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "md": markdown,
    "csv": comma_separated,
    "tex": latex,
    "json": as_json,
}
"""What is written, by the ending of its name."""


def show(document: Mapping[str, Any], console: Console) -> None:
    """The table on a terminal, with the runs and commands below it."""
    head, body = _shown_columns(document)
    console.print(Text(printable(document["title"]), style="bold"))
    for fact in facts(document):
        console.print(Text(printable(fact), style="dim"))
    console.print(_grid(head, body))
    if document["claims"] or document["unmeasured"]:
        if document["claim_rule"]:
            console.print(Text(printable("Rule of the claims: " + document["claim_rule"]), style="dim"))
        console.print(_grid(CLAIM_HEAD, claim_lines(document)))
    for row in document["rows"]:
        if row["note"]:
            console.print(Text(printable(f"{row['title']}: {row['note']}")))
    for note in document["notes"]:
        console.print(Text(printable(f"· {note}")))
    for what, time, command in runs_lines(document):
        console.print(Text(printable(f"{what}: {time}"), style="dim"), soft_wrap=True)
        console.print(Text(printable(f"  {command}"), style="dim"), soft_wrap=True)
    console.print(Text(printable(_code_text(document))))
    console.print(Text(", ".join(f"{count} {verdict}" for verdict, count in document["verdicts"].items())))


def _shown_columns(document: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """`lines` without the columns that say nothing: what is the same for all, or printed nowhere."""
    body = lines(document)
    cells = [cell for row in document["rows"] for cell in row["cells"]]
    printed = any(cell["published"] is not None for cell in cells)
    kept = [HEAD.index(name) for name in HEAD if printed or name in ("method", "quantity", "ours")]
    if len({cell["column"] for cell in cells}) == 1:
        kept.remove(HEAD.index("quantity"))
    if not printed and any(cell["reason"] != "nothing is printed" or cell["marks"] for cell in cells):
        kept.append(HEAD.index("verdict"))
    return [HEAD[i] for i in kept], [tuple(line[i] for i in kept) for line in body]


def _grid(head: Any, body: Any) -> Grid:
    grid = Grid(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in head:
        grid.add_column(name, overflow="fold")
    for line in body:
        words = [Text(printable(word)) for word in line]
        style = next((STYLES[v] for v in STYLES if line[-1].startswith(v)), "")
        words[-1].stylize(style)
        grid.add_row(*words)
    return grid


def _unit(cell: Mapping[str, Any]) -> str:
    return f" {cell['unit']}" if cell["unit"] else ""


def _measured_text(claim: Mapping[str, Any]) -> str:
    where = " − ".join(f"{row} {column}" for row, column in (claim["of"], claim["against"]))
    if claim["compare"] != "difference":
        where = where.replace(" − ", " / ")
    if claim["estimate"] is None:
        return where
    sign = 1 if claim["better"] == "higher" else -1
    numbers = [sign * claim[name] for name in ("estimate", "low", "high")]
    if claim["compare"] != "difference":
        numbers = [math.exp(number) for number in numbers]
    middle, (low, high) = numbers[0], sorted(numbers[1:])
    unit = f" {claim['unit']}" if claim["unit"] else ""
    return f"{where}: {middle:.3g} [{low:.3g}, {high:.3g}]{unit}, {claim['pairs']} pairs"


def _effect_text(claim: Mapping[str, Any]) -> str:
    if claim["compare"] == "difference":
        return f"{claim['effect']:g}{' ' + claim['unit'] if claim['unit'] else ''} {claim['better']}"
    least = 1 + claim["effect"]
    bound = f"> {least:g}" if claim["better"] == "higher" else f"< {1 / least:.3g}"
    return f"{'ratio' if claim['compare'] == 'ratio' else 'ratio of deviations'} {bound}"


def _claim_verdict(claim: Mapping[str, Any]) -> str:
    return claim["verdict"] + (f" ({claim['reason']})" if claim["reason"] else "")


def _code_text(document: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{code} ({count} runs)" for code, count in document["code"].items()) or "no run yet"
    return f"Code: {versions}. Wall time of all runs: {duration_text(document['seconds'] or None)}."


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))


def _md(text: str) -> str:
    text = _one_line(text)
    for letter, instead in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "\\|"), ("*", "\\*"), ("_", "\\_")):
        text = text.replace(letter, instead)
    return text.replace("[", "\\[").replace("`", "\\`")


def _md_grid(head: Any, body: Any) -> str:
    rows = [tuple(head), tuple("---" for _ in head), *(tuple(map(_md, line)) for line in body)]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "−": r"$-$",
    "<": r"$<$",
    ">": r"$>$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(letter, letter) for letter in _one_line(text))


def _tex_grid(head: Any, body: Any) -> str:
    rows = [" & ".join(map(_tex, line)) + r" \\" for line in body]
    heading = " & ".join(map(_tex, head)) + r" \\ \hline"
    return "\n".join([rf"\begin{{tabular}}{{{'l' * len(head)}}}", heading, *rows, r"\end{tabular}"])


def _csv(item: Any) -> Any:
    """A field; text that a spreadsheet would take for a formula gets an apostrophe."""
    if isinstance(item, str):
        item = printable(item)
        return f"'{item}" if item[:1] in "=@" or (item[:1] in "+-" and not item[1:2].isdigit()) else item
    return item
