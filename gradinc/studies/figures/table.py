"""The figure of a table: our means of its rows with intervals, beside the printed numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gradinc.records.statistics import spread_of
from gradinc.studies.figures.style import WIDTHS, colour, new_figure, paper_style

_PANELS = 3
"""Largest number of panels beside each other."""

_LINE, _REST = 0.17, 0.6
"""Inches of a row of the table, and of the rest of a panel."""


def draw_table(document: Mapping[str, Any]) -> Any:
    """Return a figure with a panel for each column: means of our runs with 95 % intervals, and printed numbers.

    Args:
        document: result of `gradinc.studies.tables.document.table_document`.
    """
    columns = {cell["column"]: cell for row in document["rows"] for cell in row["cells"]}
    rows = [row for row in document["rows"] if any(cell["ours"] or cell["published"] for cell in row["cells"])]
    beside = min(_PANELS, len(columns))
    down = -(-len(columns) // beside)
    with paper_style():
        figure = new_figure(WIDTHS["page"], down * (_LINE * max(len(rows), 3) + _REST))
        axes = figure.subplots(down, beside, squeeze=False, sharey=True).ravel().tolist()
        for axis in axes[len(columns) :]:
            axis.remove()
        for axis, (name, column) in zip(axes, columns.items(), strict=False):
            for place, row in enumerate(rows):
                for cell in row["cells"]:
                    if cell["column"] == name:
                        _draw_cell(axis, place, cell)
            axis.set_xlabel(_plain(column["title"]) + (f" ({column['unit']})" if column["unit"] else ""))
            axis.set_yticks(range(len(rows)), [_plain(row["title"]) for row in rows])
            axis.set_ylim(len(rows) - 0.4, -0.6)
            axis.grid(visible=False, axis="y")
        labelled = [axis.get_legend_handles_labels() for axis in axes[: len(columns)]]
        names = {name: handle for handles, labels in labelled for handle, name in zip(handles, labels, strict=True)}
        if "printed" in names:
            figure.legend(names.values(), names.keys(), loc="outside upper center", ncols=2)
    return figure


def _draw_cell(axis: Any, place: int, cell: Mapping[str, Any]) -> None:
    if (ours := cell["ours"]) is not None:
        half = spread_of(ours["sd"], ours["n"], "ci95") or 0.0
        axis.errorbar(ours["mean"], place, None, half, fmt="o", color=colour(0), capsize=2, label="ours, 95 % interval")
    if cell["published"] is not None:
        axis.plot(cell["published"]["mean"], place, "D", color=colour(1), fillstyle="none", label="printed")


def _plain(text: str) -> str:
    """Return a text that is drawn as it is, without formulas."""
    return text.replace("$", r"\$")
