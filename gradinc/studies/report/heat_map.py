"""Accuracy matrices as heat maps."""

from __future__ import annotations

from markupsafe import Markup

from gradinc.base.text import percent_text
from gradinc.records.matrix import together
from gradinc.records.metrics import Matrix
from gradinc.studies.report.svg import CHART_WIDTH, Numbers, coordinate, drawing

PALE = 0.73
"""Share up to which a cell needs dark letters on a light page, and light letters on a dark page."""


def heat_map_figure(numbers: Numbers, title: str, matrix: Matrix) -> Markup:
    """Return an accuracy matrix: one row before training and one after each task, one column for each task."""
    rows, columns = len(matrix), len(matrix[0])
    left, top = 64, 24
    side = min(48.0, (CHART_WIDTH - left - 4) / columns)
    tall = min(side, 26.0)
    parts = []
    for j in range(columns):
        if j % (1 + columns // 21) == 0:
            parts.append(
                Markup('<text class="mid" x="{}" y="16">{}</text>').format(coordinate(left + side * (j + 0.5)), j + 1)
            )
    if any(value is None for row in matrix for value in row):  # one box behind all cells that were not measured
        parts.append(
            Markup('<rect class="none" x="{}" y="{}" width="{}" height="{}"/>').format(
                coordinate(left + 0.5),
                coordinate(top + 0.5),
                coordinate(side * columns - 1),
                coordinate(tall * rows - 1),
            )
        )
    for i, row in enumerate(matrix):
        y = top + tall * i
        if i % (1 + rows // 32) == 0:
            name = "before" if i == 0 else "after all" if together(matrix) else f"after {i}"
            parts.append(
                Markup('<text class="end" x="{}" y="{}" dy=".32em">{}</text>').format(
                    left - 5, coordinate(y + tall / 2), name
                )
            )
        for j, value in enumerate(row):
            if value is not None:
                parts.append(_cell(left + side * j, y, side, tall, value, written=columns <= 10))
    height = top + tall * rows + 4
    last = [value for value in matrix[-1] if value is not None]
    mean = f"mean after the last task {percent_text(sum(last) / len(last))}" if last else "not measured at the end"
    words = f"{title}: accuracy on {columns} tasks, the columns, before training and after each task; {mean}."
    return drawing(numbers, title, words, parts, CHART_WIDTH, height)


def _cell(x: float, y: float, side: float, tall: float, value: float, *, written: bool) -> Markup:
    share = round(min(max(value, 0.0), 1.0), 2)
    cell = Markup(
        '<rect class="heat" fill-opacity="{}" x="{}" y="{}" width="{}" height="{}"><title>{} %</title></rect>'
    ).format(
        f"{share:.2f}",
        coordinate(x + 0.5),
        coordinate(y + 0.5),
        coordinate(side - 1),
        coordinate(tall - 1),
        f"{100 * value:.1f}",
    )
    if not written:
        return cell
    words = f"{100 * value:.0f}" if side < 32 else f"{100 * value:.1f}"
    return cell + Markup('<text class="mid {}" x="{}" y="{}" dy=".34em">{}</text>').format(
        "on" if share > PALE else "off", coordinate(x + side / 2), coordinate(y + tall / 2), words
    )
