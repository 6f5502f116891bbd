"""A table as a plain document: a pure function of the table's file and of the records of runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import fmean, stdev
from typing import Any

from gradinc.records.statistics import SpreadKind
from gradinc.studies.tables.cells import Cell, changes_made
from gradinc.studies.tables.collecting import MeasuredRun, SeedResult, averaged, common_code, left_out, seed_results
from gradinc.studies.tables.judging import (
    BY_DIFFERENT_CODE,
    CLAIM_RULE,
    FEWEST_RUNS,
    RULE,
    Judgement,
    judge,
    judge_claim,
    standard_deviation,
)
from gradinc.studies.tables.specification import GRADES, PRIMARY, Claim, Column, Published, Table


def table_document(
    table: Table, cells: Sequence[Cell], runs: Mapping[str, MeasuredRun], spread: SpreadKind = "sd"
) -> dict[str, Any]:
    """Return all data shown for a table.

    The same runs give the same document, independent of their order and their directories.

    Args:
        cells: the shown cells.
        runs: runs by the digests of their settings, from `measured_runs`; runs without a cell are ignored.
        spread: what follows the ± of our means in texts.
    """
    measured = {(c.row, c.column): seed_results(c, table.columns[c.column].quantity, runs) for c in cells}
    shown = [_cell(table, cell, measured[cell.row, cell.column]) for cell in cells]
    rows = dict.fromkeys(cell.row for cell in cells)
    used = {each.settings: each.run for one in measured.values() for each in one if each.run is not None}
    return {
        "table": table.name,
        "title": table.title,
        "citation": None if table.citation is None else str(table.citation),
        "data": table.data,
        "budget": table.budget,
        "protocol": list(table.protocol),
        "changed": changes_made(cells),
        "rule": RULE if any(row.published for row in table.rows.values()) else None,
        "spread": spread,
        "grades": {grade: GRADES[grade] for grade in sorted(_grades(table))},
        "rows": [
            {
                "row": row,
                "title": table.rows[row].title,
                "note": table.rows[row].note,
                "cells": [each for cell, each in zip(cells, shown, strict=True) if cell.row == row],
            }
            for row in rows
        ],
        "claim_rule": CLAIM_RULE if table.claims else None,
        "claims": [_claim(claim, table, measured) for claim in table.claims],
        "unmeasured": dict(table.unmeasured),
        "verdicts": dict(sorted(Counter(each["verdict"] for each in shown).items())),
        "code": dict(sorted(Counter(each.version or "unknown" for each in used.values()).items())),
        "hardware": dict(sorted(Counter(_hardware(each) for each in used.values()).items())),
        "dates": sorted({each.date for each in used.values() if each.date is not None}),
        "unsealed": sum(each.unsealed for each in used.values()),
        "seconds": round(sum(sorted(each.seconds or 0.0 for each in used.values())), 3),
        "notes": list(table.notes),
        "measured": {settings: asdict(each) for settings, each in used.items()},
    }


def _grades(table: Table) -> set[str]:
    return {grade for row in table.rows.values() for p in row.published.values() for grade in (p.grade, p.spread_grade)}


def _hardware(run: MeasuredRun) -> str:
    """Return what a run's last bits depend on: its GPU, or its processor with model and instructions; and PyTorch."""
    facts = run.environment
    where = str(facts.get("device", "unknown"))
    if where == "cpu":
        where = str(facts.get("processor", "unknown"))
        where += "".join(f", {facts[name]}" for name in ("cpu", "instructions") if name in facts)
    return f"{where}, PyTorch {facts.get('torch', 'unknown')}"


def _cell(table: Table, cell: Cell, measured: Sequence[SeedResult]) -> dict[str, Any]:
    column = table.columns[cell.column]
    published = table.rows[cell.row].published.get(cell.column)
    numbers = [column.scale * number for number in averaged(measured)]
    found = left_out(measured)
    reason = _not_judged(table, cell, published, found, measured, len(numbers))
    judgement = None
    if published is not None and reason is None:
        judgement = _judged(published, column, numbers)
    difference = fmean(numbers) - published.mean if numbers and published is not None else None
    return {
        "column": cell.column,
        "title": column.title,
        "quantity": column.quantity.name,
        "unit": column.unit,
        "decimals": column.decimals if published is None else max(column.decimals, published.decimals),
        "published": None if published is None else _published(published),
        "ours": {
            "mean": fmean(numbers),
            "sd": stdev(numbers) if len(numbers) > 1 else None,
            "n": len(numbers),
        }
        if numbers
        else None,
        "difference": difference,
        "half_width": None if judgement is None else judgement.half,
        "seeds_needed": None if judgement is None else judgement.seeds,
        "hopeless": judgement is not None and judgement.hopeless,
        "flags": [] if judgement is None or published is None else _flags(judgement, published),
        "verdict": "not judged" if judgement is None else judgement.verdict,
        "reason": reason,
        "comparable": published is None or cell.data in (None, table.data),
        "marks": found,
        "runs": [each.run.run for each in measured if each.run is not None],
        "seeds": [_seed(each, column) for each in measured],
        "seconds": round(sum(each.run.seconds or 0.0 for each in measured if each.run is not None), 3),
        "command": cell.command,
    }


def _seed(each: SeedResult, column: Column) -> dict[str, Any]:
    run = each.run
    return {
        "seed": each.seed,
        "settings": each.settings,
        "status": "missing" if run is None else run.status,
        "run": None if run is None else run.run,
        "value": None if each.number is None else column.scale * each.number,
        "reason": each.reason,
        "code": None if run is None else run.version,
        "seconds": None if run is None else run.seconds,
    }


def _not_judged(
    table: Table,
    cell: Cell,
    published: Published | None,
    found: Sequence[str],
    measured: Sequence[SeedResult],
    count: int,
) -> str | None:
    """Return why there is no verdict, or None if a verdict is possible."""
    if cell.missing is not None:
        return cell.missing
    if published is None:
        return "nothing is printed"
    if count == 0 and found:
        return "not run" if all("missing" in mark for mark in found) else "; ".join(found)
    if cell.data != table.data:
        return f"printed for {table.data}, not comparable with {cell.data}"
    if cell.altered is not None:
        return f"other {cell.altered} than published"
    others = {each.run.data for each in measured if each.run is not None and each.number is not None} - {table.digest}
    if table.digest is not None and others:
        named = sorted(f"digest {other[:12]}" if other else "without a digest" for other in others)
        return f"other {table.data} data than published ({', '.join(named)})"
    if published.grade not in PRIMARY:
        return "secondary source"
    if (reason := table.rows[cell.row].not_judged) is not None:
        return reason
    if found:
        return "; ".join(found)
    if count < FEWEST_RUNS:
        return f"n too small to tell ({count} of {FEWEST_RUNS} runs)"
    return None


def _judged(published: Published, column: Column, numbers: Sequence[float]) -> Judgement:
    sd = None
    if published.spread is not None and published.kind is not None and published.spread_grade in PRIMARY:
        sd = standard_deviation(published.spread, published.kind, published.n)
    assert column.tolerance is not None
    return judge(published.mean, sd, published.n, numbers, unit=published.unit, tolerance=column.tolerance)


def _flags(judgement: Judgement, published: Published) -> list[str]:
    return [*(["b"] if judgement.borrowed else []), *(["n"] if published.n is None else [])]


def _published(published: Published) -> dict[str, Any]:
    return {
        "printed": published.printed,
        "mean": published.mean,
        "spread": published.spread,
        "kind": published.kind if published.spread is not None else None,
        "n": published.n,
        "grade": published.grade,
        "spread_grade": published.spread_grade if published.spread is not None else None,
        "secondary": published.grade not in PRIMARY,
    }


def _claim(claim: Claim, table: Table, measured: dict[tuple[str, str], list[SeedResult]]) -> dict[str, Any]:
    sides = [(side.row, side.column) for side in (claim.of, claim.against)]
    columns = [table.columns[column] for _, column in sides]
    document: dict[str, Any] = {
        "claim": claim.claim,
        "of": list(sides[0]),
        "against": list(sides[1]),
        "better": claim.better,
        "compare": claim.compare,
        "effect": claim.effect,
        "unit": columns[0].unit if claim.compare == "difference" else "",
        "verdict": "not shown",
        "reason": None,
        "estimate": None,
        "low": None,
        "high": None,
        "pairs": 0,
    }
    if not all(side in measured for side in sides):
        return {**document, "reason": "rows that it compares are not shown"}
    found = [mark for side in dict.fromkeys(sides) for mark in left_out(measured[side])]
    codes = [common_code(measured[side]) for side in sides]
    if any(codes[0][package] != codes[1][package] for package in codes[0].keys() & codes[1].keys()):
        found.append(BY_DIFFERENT_CODE)
    by_seed = [
        {each.seed: column.scale * each.number for each in measured[side] if each.number is not None}
        for side, column in zip(sides, columns, strict=True)
    ]
    seeds = sorted(set(by_seed[0]) & set(by_seed[1]))
    if found or len(seeds) < FEWEST_RUNS:
        reason = "; ".join(dict.fromkeys(found)) or f"n too small to tell ({len(seeds)} of {FEWEST_RUNS} pairs)"
        return {**document, "reason": reason, "pairs": len(seeds)}
    of, against = ([side[seed] for seed in seeds] for side in by_seed)
    if claim.compare != "difference" and min(*of, *against) <= 0:
        return {**document, "reason": "a ratio needs numbers above zero", "pairs": len(seeds)}
    if claim.compare == "spread" and (min(of) == max(of) or min(against) == max(against)):
        return {**document, "reason": "a side has no spread over seeds", "pairs": len(seeds)}
    j = judge_claim(of, against, higher=claim.better == "higher", effect=claim.effect, compare=claim.compare)
    return {**document, "verdict": j.verdict, "estimate": j.estimate, "low": j.low, "high": j.high, "pairs": j.pairs}
