"""The accuracy matrix of a stream of tasks, as colours and numbers on a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from rich.text import Text

from gradinc.records.matrix import MatrixRow, cells

LOW, HIGH = (68, 1, 84), (94, 201, 98)
"""Colours of accuracy 0 and 1, the ends of a scale with increasing lightness."""
MIDDLE = (33, 144, 140)


MOST_ROWS = 40
"""Default for the largest number of rows."""


def heat_map(matrix: Sequence[MatrixRow], width: int, height: int = MOST_ROWS) -> Text:
    """Return a line for each row: before any training, and after each task; a cell for each task, in whole per cent.

    Args:
        width: columns of the terminal. If numbers do not fit, a cell is only a colour; if tasks do not fit either,
            the last ones are left out and counted.
        height: largest number of rows. A longer matrix is reduced to evenly spaced rows, with the first and the last.
    """
    tasks = len(matrix[0]) if matrix else 0
    label = max(len("untrained"), len(f"after {tasks}"))
    cell = next((size for size in (4, 3, 2, 1) if label + 1 + tasks * size <= width), 1)
    shown = min(tasks, (width - label - 1) // cell)
    text = Text(no_wrap=True)
    for number in _spaced(len(matrix), max(2, height)):
        text.append(("untrained" if number == 0 else f"after {number}").rjust(label) + " ", "dim")
        for value in cells(matrix[number], shown):
            _append(text, value, cell)
        if shown < tasks:
            text.append(f" … {tasks - shown} more", "dim")
        text.append("\n")
    text.rstrip()
    return text


def number_map(matrix: Sequence[MatrixRow], width: int, height: int = MOST_ROWS) -> Text:
    """Return the lines of `heat_map` for numbers that are no shares, such as perplexities, without colours.

    Args:
        width, height: as for `heat_map`; tasks that do not fit are left out and counted.
    """
    tasks = len(matrix[0]) if matrix else 0
    label = max(len("untrained"), len(f"after {tasks}"))
    numbers = _spaced(len(matrix), max(2, height))
    rows = [["·" if v is None else f"{v:.4g}" for v in cells(matrix[number], tasks)] for number in numbers]
    cell = max((len(each) for row in rows for each in row), default=0) + 2
    shown = max(1, min(tasks, (width - label - 12) // cell)) if label + tasks * cell > width else tasks
    text = Text(no_wrap=True)
    for number, row in zip(numbers, rows, strict=True):
        text.append(("untrained" if number == 0 else f"after {number}").rjust(label), "dim")
        text.append("".join(each.rjust(cell) for each in row[:shown]))
        if shown < tasks:
            text.append(f" … {tasks - shown} more", "dim")
        text.append("\n")
    text.rstrip()
    return text


def _spaced(rows: int, most: int) -> list[int]:
    if rows <= most:
        return list(range(rows))
    return [round(place * (rows - 1) / (most - 1)) for place in range(most)]


def _append(text: Text, value: float | None, cell: int) -> None:
    if value is None:
        text.append("·".rjust(cell), "dim")
        return
    number = f"{round(100 * value)}".rjust(cell) if cell > 2 else " " * cell
    red, green, blue = _colour(value)
    dark = 0.299 * red + 0.587 * green + 0.114 * blue < 140
    text.append(number, Style(color="white" if dark else "black", bgcolor=f"rgb({red},{green},{blue})"))


def _colour(value: float) -> tuple[int, int, int]:
    low, high, share = (LOW, MIDDLE, 2 * value) if value < 0.5 else (MIDDLE, HIGH, 2 * value - 1)
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(low, high, strict=True))
    return red, green, blue
