"""The layout of figures for papers: panels, axes with their names, and legends that fit the width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gradinc.studies.figures.style import new_figure

RATIO = 0.68
"""Height of a panel, as a share of its width."""

_NAMES = 0.3
"""Height of a panel's title and ticks, in inches, if there are several rows."""

_LINE = 0.15
"""Height of a line of the legend, in inches."""

_SAMPLE = 0.5
"""Width of a line's sample in the legend with its margins, in inches."""


def letters_wide(text: str) -> float:
    """Return the approximate width of a text of 7 points, in inches."""
    return 0.062 * len(text)


def slant(names: Sequence[str], room: float) -> dict[str, Any]:
    """Return how names below an axis of this width, in inches, are turned so that they do not overlap."""
    if letters_wide("".join(names)) + 0.08 * len(names) <= room:
        return {}
    if room / len(names) < 0.2:
        return {"rotation": 90}
    return {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}


def panels(width: float, height: float | None, count: int, ratio: float = RATIO) -> tuple[Any, list[Any]]:
    """Return a figure with panels beside and below each other, about as wide as a third of a page at least."""
    columns = min(count, max(1, round(width / 2.1)))
    rows = -(-count // columns)
    figure = new_figure(width, height or rows * (width / columns * ratio + (_NAMES if columns > 1 else 0.0)))
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes[count:]:
        axis.remove()
    return figure, axes[:count]


def label_axes(axis: Any, x: str, y: str, *, zero: bool = True) -> None:
    """Name both axes; an axis of shares stays within 0 and 100 %."""
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    if zero and axis.get_xlim()[0] < 0:
        axis.set_xlim(left=0)
    if y.endswith("(%)"):
        low, high = axis.get_ylim()
        axis.set_ylim(low if low < -3 else max(low, -1), min(high, 101))


def whole_ticks(axis: Any, count: int) -> None:
    """Label whole numbers from 1."""
    axis.set_xticks(range(1, count + 1, 1 + (count - 1) // 10))
    axis.set_xlim(0.8, count + 0.2)


def finish(height: float | None, figure: Any, axes: Sequence[Any]) -> None:
    """Remove names that the neighbouring panel has too, and add the legend; the figure grows by its height.

    Args:
        height: the height that was asked for, in inches; then the figure does not grow.
    """
    columns = axes[0].get_gridspec().ncols
    names = [(axis.get_xlabel(), axis.get_ylabel()) for axis in axes]
    for index, axis in enumerate(axes):
        if index % columns and names[index][1] == names[index - 1][1]:
            axis.set_ylabel("")
        if index + columns < len(axes) and names[index][0] == names[index + columns][0]:
            axis.set_xlabel("")
    handles, texts = axes[0].get_legend_handles_labels()
    if len(texts) < 2:
        return
    beside = max(1, int(figure.get_figwidth() / (_SAMPLE + max(map(letters_wide, texts)))))
    beside = min(beside, len(texts), 4)
    figure.legend(handles, texts, loc="outside upper center", ncols=beside)
    if height is None:
        figure.set_figheight(figure.get_figheight() + _LINE * (-(-len(texts) // beside) - 1))
