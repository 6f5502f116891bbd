"""The texts of a table's document, independent of its layout."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from gradinc.base.text import NONE, counted, duration_text
from gradinc.records.statistics import SPREADS, SpreadKind, spread_of
from gradinc.studies.tables.collecting import BY_OTHER_CODE, BY_UNKNOWN_CODE
from gradinc.studies.tables.judging import BY_DIFFERENT_CODE, MOST_SEEDS

_HEAD = ("method", "quantity", "published", "ours", "difference", "verdict")
CLAIM_HEAD = ("claim", "measured", "smallest that counts", "verdict")

_HOPELESS = "no number of seeds would do: the printed spread alone is wider"

_MOST_VALUES = 3
"""Largest number of a table's values that a line about a change names."""

MARKS = {"reproduced": "r", "differs": "d", "interval too wide": "w", "not judged": "u"}
"""The letters of the verdicts on our numbers in LaTeX."""

FLAGS = {
    "b": "no spread is printed (or only by a secondary source), and ours is used",
    "n": "the number of runs behind the printed number is not known, and counts as one",
}
"""The letters after a difference, with their meanings."""


def lines(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the cells as texts, one a line, under `_HEAD`."""
    found: list[tuple[str, ...]] = []
    for row in document["rows"]:
        for cell in row["cells"]:
            found.append(
                (
                    row["title"],
                    cell["title"],
                    published_text(cell),
                    ours_text(cell, document["spread"]),
                    difference_text(cell),
                    verdict_text(cell),
                )
            )
    return found


def claim_lines(document: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return the claims as texts, one a line, under `CLAIM_HEAD`."""
    found = [(c["claim"], _measured_text(c), _effect_text(c), _claim_verdict(c)) for c in document["claims"]]
    return found + [(claim, NONE, NONE, f"not shown ({why})") for claim, why in document["unmeasured"].items()]


def published_text(cell: Mapping[str, Any]) -> str:
    """Return the printed number, with notes for the reader."""
    published = cell["published"]
    if published is None:
        return NONE
    secondary = f" [{published['grade']}: secondary source]" if published["secondary"] else ""
    if not secondary and published["spread_grade"] in ("C", "D"):
        secondary = f" [spread {published['spread_grade']}: secondary source]"
    return f"{published['printed']}{_unit(cell)}{secondary}"


def ours_text(cell: Mapping[str, Any], kind: SpreadKind) -> str:
    """Return mean, spread and number of runs, with the requested number if some are missing."""
    ours = cell["ours"]
    if ours is None:
        return NONE
    places = cell["decimals"]
    width = spread_of(ours["sd"], ours["n"], kind)
    spread = "" if width is None else f" ± {width:.{places}f}"
    of = f" of {len(cell['seeds'])}" if len(cell["seeds"]) != ours["n"] else ""
    return f"{ours['mean']:.{places}f}{spread}{_unit(cell)} ({ours['n']}{of})"


def difference_text(cell: Mapping[str, Any]) -> str:
    """Return our number minus the printed one, with h, if they can be compared."""
    if cell["difference"] is None or not cell["comparable"]:
        return NONE
    places = cell["decimals"]
    half = "" if cell["half_width"] is None else f" ± {cell['half_width']:.{places}f}"
    flags = "".join(cell["flags"])
    return f"{cell['difference']:+.{places}f}{half}{flags and ' ' + flags}"


def verdict_text(cell: Mapping[str, Any]) -> str:
    """Return the verdict, or the reason for its absence, and further obstacles."""
    if cell["published"] is None and cell["command"] is not None:  # without a printed number no verdict is needed
        return "; ".join(cell["marks"]) or NONE
    more = [cell["reason"]] if cell["reason"] else []
    if cell["verdict"] == "interval too wide":
        needed = cell["seeds_needed"]
        enough = f"about {needed} seeds would do" if needed else f"{MOST_SEEDS} seeds would not do"
        more.append(_HOPELESS if cell["hopeless"] else enough)
    more += [mark for mark in cell["marks"] if mark not in (cell["reason"] or "") and cell["ours"] is not None]
    return cell["verdict"] + (f" ({'; '.join(more)})" if more else "")


def facts(document: Mapping[str, Any]) -> list[str]:
    """Return the lines between the title and the table."""
    found = [document["citation"]] if document["citation"] else []
    if document["grades"]:
        grades = "; ".join(f"{grade}: {words}" for grade, words in document["grades"].items())
        found.append(f"Grades of the printed numbers: {grades}.")
    found.append("Protocol: " + " ".join(document["protocol"]))
    found.append(changed_text(document))
    found.append(f"Ours: mean ± {SPREADS[document['spread']]} (number of runs).")
    found.append(printed_text(document))
    if document["rule"]:
        found.append("Rule: " + document["rule"])
    return [text for text in found if text]


def changed_text(document: Mapping[str, Any]) -> str:
    """Return the overrides of the command line that change what is computed; empty without any."""
    made = [
        f"{override} (the table has {' or '.join(values) if len(values) <= _MOST_VALUES else 'several values'})"
        for override, values in document["changed"].items()
    ]
    return f"Changed on the command line: {', '.join(made)}." if made else ""


def printed_text(document: Mapping[str, Any]) -> str:
    """Return what follows the ± of the published numbers, and the number of their runs; empty without such numbers."""
    cells = [cell["published"] for row in document["rows"] for cell in row["cells"] if cell["published"]]
    counts: dict[SpreadKind | None, set[int | None]] = {}
    for kind in (*SPREADS, None):
        if found := {cell["n"] for cell in cells if cell["kind"] == kind}:
            counts[kind] = found
    parts = []
    for kind, found in counts.items():
        known = sorted(n for n in found if n is not None)
        runs = ["one run" if known == [1] else f"{' or '.join(map(str, known))} runs"] if known else []
        runs += ["number of runs not known"] if None in found else []
        mean = f"mean ± {SPREADS[kind]}" if kind else "without ±" if len(counts) > 1 else "mean"
        parts.append(runs[0] if mean == "mean" and runs == ["one run"] else f"{mean} ({', or '.join(runs)})")
    return f"Published: {'; '.join(parts)}." if parts else ""


def runs_lines(document: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return for each command of a row: its cells, the wall time and names of its runs, and the command itself."""
    found = []
    for row in document["rows"]:
        by_command: dict[str, list[Any]] = {}
        for cell in row["cells"]:
            if cell["command"] is not None:
                by_command.setdefault(cell["command"], []).append(cell)
        for command, cells in by_command.items():
            several = [cell["title"] for cell in cells]
            titles = "; ".join(several if len(several) <= 4 else [*several[:2], f"{len(several) - 2} more"])
            names = ", ".join(cells[0]["runs"]) or "no run yet"
            time = duration_text(cells[0]["seconds"] if cells[0]["runs"] else None)
            found.append((f"{row['title']}: {titles}", f"{time}: {names}", command))
    return found


def grid_texts(document: Mapping[str, Any]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return `lines` without columns that give no information: equal values, or no printed value."""
    body = lines(document)
    cells = [cell for row in document["rows"] for cell in row["cells"]]
    printed = any(cell["published"] is not None for cell in cells)
    kept = [_HEAD.index(name) for name in _HEAD if printed or name in ("method", "quantity", "ours")]
    if len({cell["column"] for cell in cells}) == 1:
        kept.remove(_HEAD.index("quantity"))
    if not printed and any(cell["reason"] != "nothing is printed" or cell["marks"] for cell in cells):
        kept.append(_HEAD.index("verdict"))
    return [_HEAD[i] for i in kept], [tuple(line[i] for i in kept) for line in body]


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


def counts_text(document: Mapping[str, Any]) -> str:
    """Return the number of cells and claims with each verdict; empty without printed numbers and claims."""
    found = []
    if document["rule"]:
        found.append("Cells: " + _counted(document["verdicts"]))
    if document["claims"] or document["unmeasured"]:
        verdicts = Counter(claim["verdict"] for claim in document["claims"])
        verdicts["not shown"] += len(document["unmeasured"])
        found.append("Claims: " + _counted(verdicts))
    return " ".join(found)


def _counted(verdicts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()) if count) + "."


def code_text(document: Mapping[str, Any]) -> str:
    versions = (
        ", ".join(f"{code} ({counted(count, 'run')})" for code, count in document["code"].items()) or "no run yet"
    )
    count = document["unsealed"]
    parts = [f"Code: {versions}.", *_mixed_code(document)]
    if document["hardware"]:
        parts.append(
            "Hardware: " + "; ".join(f"{name} ({counted(n, 'run')})" for name, n in document["hardware"].items())
        )
        parts[-1] += "."
    if dates := document["dates"]:
        parts.append(f"Date: {dates[0]}" + (f" to {dates[-1]}." if len(dates) > 1 else "."))
    if count:
        parts.append(f"Unsealed: {counted(count, 'run')}.")
    parts.append(f"Wall time of all runs: {duration_text(document['seconds'] or None)}.")
    return " ".join(parts)


def _mixed_code(document: Mapping[str, Any]) -> list[str]:
    """Return the rows with runs of other code than most runs of the table."""
    versions = sorted(document["code"].items(), key=lambda each: (-each[1], each[0]))[1:]
    rows = {
        version: [
            row["title"]
            for row in document["rows"]
            if any((seed["code"] or "unknown") == version for c in row["cells"] for seed in c["seeds"] if seed["run"])
        ]
        for version, _ in versions
    }
    found = [f"Mixed code: {version} made runs of {'; '.join(titles)}." for version, titles in rows.items()]
    if again := _rows_of_several_codes(document):
        found.append(
            f"The same command with --rows {','.join(again)} fresh=true trains them again, by the present code."
        )
    return found


def _rows_of_several_codes(document: Mapping[str, Any]) -> list[str]:
    """Return the rows without a verdict because their runs, or the two sides of a claim, are by different code."""
    rows = [
        row["row"]
        for row in document["rows"]
        if any(mark.endswith((BY_OTHER_CODE, BY_UNKNOWN_CODE)) for cell in row["cells"] for mark in cell["marks"])
    ]
    sides = [
        side[0]
        for claim in document["claims"]
        if BY_DIFFERENT_CODE in (claim["reason"] or "")
        for side in (claim["of"], claim["against"])
    ]
    return list(dict.fromkeys([*rows, *sides]))
