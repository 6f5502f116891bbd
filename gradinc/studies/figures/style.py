"""The look of figures for papers: widths of columns, fonts that are embedded, colours that everybody can tell apart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gradinc.base.errors import UserError
from gradinc.base.files import storing, write_whole

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C6D00")
"""The palette of Okabe and Ito 2008 (Color Universal Design), without yellow, which is too light for lines."""

LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)), (0, (7, 2)), (0, (3, 1, 1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
"""Lines and markers that also differ without colour."""

WIDTHS = {"column": 3.25, "text": 5.5, "page": 6.75}
"""Widths in inches: a column of two, the text of one column, and both columns."""

FORMATS = (".pdf", ".svg", ".png")

_SETTINGS: Any = {
    "pdf.fonttype": 42,  # TrueType, whole letters: publishers refuse Type 3
    "ps.fonttype": 42,
    "svg.fonttype": "path",
    "svg.hashsalt": "gradinc",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8,
    "axes.labelsize": 8,
    "axes.titlesize": 8,
    "legend.fontsize": 7,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.4,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.handlelength": 2.4,
    "figure.constrained_layout.use": True,
    "savefig.dpi": 300,
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Use the settings of figures for papers."""
    import matplotlib

    with matplotlib.rc_context(_SETTINGS):
        yield


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure, without a window."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def colour(index: int) -> str:
    """Return the colour of a setting."""
    return PALETTE[index % len(PALETTE)]


def look(index: int) -> dict[str, Any]:
    """Return the colour and the line of a setting; after all colours have been used, the lines are shifted."""
    return {"color": colour(index), "linestyle": LINES[(index + index // len(PALETTE)) % len(LINES)]}


def marker_of(index: int) -> str:
    """Return the marker of a setting; after all colours have been used, the markers are shifted."""
    return MARKERS[(index + index // len(PALETTE)) % len(MARKERS)]


def save_figure(figure: Any, file: Path) -> None:
    """Write a figure in the format of the file's ending, without a date: the same runs give the same bytes.

    Raises:
        UserError: the format is unknown.
        StorageError: it could not be written.
    """
    import io

    if file.suffix not in FORMATS:
        raise UserError(f"--to {file}", "unknown format", f"Give a name that ends in {', '.join(FORMATS)}")
    content = io.BytesIO()
    dates: dict[str, Any] = {".pdf": {"CreationDate": None}, ".svg": {"Date": None}, ".png": {"Software": None}}
    with paper_style():  # fonts are embedded now, by these settings
        figure.savefig(content, format=file.suffix[1:], metadata=dates[file.suffix])
    with storing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, content.getvalue())
