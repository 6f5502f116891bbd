"""Settings and their differences as LaTeX tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gradinc.records.statistics import SPREADS, Estimate, SpreadKind, spread_of
from gradinc.records.tabular import latex_counts, latex_escaped, latex_interval, latex_number, latex_table

if TYPE_CHECKING:
    from gradinc.records.groups import RunGroup
    from gradinc.records.results import ResultTable


def latex_of(table: ResultTable, base: RunGroup | None, kind: SpreadKind) -> str:
    """Return a table with a row for each setting: its number of runs, and each metric.

    Args:
        base: a second table has the differences from this setting, paired by seed.
        kind: what follows the ±.
    """
    rows = []
    for one in table.settings:
        found = [table.found(one, name) for name in table.metrics]
        numbers = [_number(table, name, each, kind) for name, each in zip(table.metrics, found, strict=True)]
        rows.append([latex_escaped(table.named(one.name)), latex_counts([_count(each) for each in found]), *numbers])
    comment = f"Mean and {SPREADS[kind]}; n: number of runs. Written by gradinc."
    text = latex_table(["", "$n$", *_heads(table)], rows, comment=comment, notes=[latex_escaped(table.equal_runs())])
    return text if base is None else text + _differences(table, base)


def _differences(table: ResultTable, base: RunGroup) -> str:
    """Return the table of differences, empty if no setting has a seed in common with `base`."""
    by_name: dict[str, list[tuple[str, Estimate | None]]] = {}
    for each in table.differences(base):
        by_name.setdefault(each.name, []).append((each.metric, each.found))
    if not any(found for row in by_name.values() for _, found in row):
        return ""
    rows = [
        [
            latex_escaped(table.named(name)),
            latex_counts([_count(found) for _, found in row]),
            *(_interval(table, metric, found) for metric, found in row),
        ]
        for name, row in by_name.items()
    ]
    comment = f"Mean difference from {table.named(base.name)}, paired by seed, with Student's 95 % interval."
    notes = [latex_escaped(table.equal_pairs(base))]
    return "\n" + latex_table(["difference", "pairs", *_heads(table)], rows, comment=comment, notes=notes)


def _heads(table: ResultTable) -> list[str]:
    return [latex_escaped(table.named(name)) + (r" (\%)" if name in table.shares else "") for name in table.metrics]


def _count(found: Estimate | None) -> int:
    return 0 if found is None else found.count


def _number(table: ResultTable, metric: str, found: Estimate | None, kind: SpreadKind) -> str:
    if found is None:
        return latex_number(None, None, 0)
    scale, decimals = _form(table, metric, found)
    return latex_number(found.mean, spread_of(found.deviation, found.count, kind), decimals, scale)


def _interval(table: ResultTable, metric: str, found: Estimate | None) -> str:
    if found is None:
        return latex_number(None, None, 0)
    scale, decimals = _form(table, metric, found)
    return latex_interval(found.mean, found.interval, decimals, scale)


def _form(table: ResultTable, metric: str, found: Estimate) -> tuple[float, int]:
    """Return the factor and the decimals: percent for shares, four digits for other numbers."""
    return (100.0, 2) if metric in table.shares else (1.0, max(0, 4 - len(str(int(abs(found.mean))))))
