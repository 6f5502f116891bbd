"""Tables for other programs: CSV, Parquet, and LaTeX with booktabs."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gradinc.base.errors import UserError
from gradinc.base.files import storing, write_whole
from gradinc.base.text import NONE, printable

_LATEX = {
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
    "–": "--",
    "−": "$-$",
    "±": r"$\pm$",
    "≥": r"$\geq$",
    "≤": r"$\leq$",
    "…": r"\ldots{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"\textbar{}",
    "[": "{[}",  # after \\ a bracket begins a length, and * forbids a page break
    "*": "{*}",
}


def csv_text(records: Sequence[Mapping[str, Any]]) -> str:
    """Return records as CSV with one heading; a missing value is an empty field."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=columns_of(records), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def columns_of(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all records' values, in their order."""
    return list(dict.fromkeys(name for record in records for name in record))


def write_parquet(records: Sequence[Mapping[str, Any]], file: Path) -> None:
    """Write records as a Parquet file.

    Raises:
        UserError: pyarrow is not installed.
        StorageError: the file could not be written.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UserError("--parquet", "needs the package pyarrow", "pip install 'gradinc[pandas]'") from None
    content = io.BytesIO()
    columns = {name: [record.get(name) for record in records] for name in columns_of(records)}
    parquet.write_table(pyarrow.table(columns), content)
    write_text(file, content.getvalue())


def write_text(file: Path, content: str | bytes) -> None:
    """Write a whole file, and its folder if necessary.

    Raises:
        StorageError: it could not be written.
    """
    with storing(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, content.encode() if isinstance(content, str) else content)


def latex_escaped(text: object) -> str:
    """Return a text that LaTeX prints unchanged."""
    return "".join(_LATEX.get(letter, letter) for letter in printable(text))


def latex_table(
    head: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    comment: str = "",
    texts: int = 1,
    notes: Sequence[str] = (),
) -> str:
    r"""Return a ``tabular`` with the lines of booktabs.

    Args:
        head, rows: cells as LaTeX; the cells of texts should be `latex_escaped`.
        comment: a sentence that is written above the table as a comment.
        texts: the number of columns, from the left, that are texts; the others are numbers.
        notes: sentences in LaTeX for small lines below the table; empty ones are left out.
    """
    align = "l" * texts + "r" * (len(head) - texts)
    lines = [*([f"% {printable(comment)}"] if comment else []), r"% \usepackage{booktabs}"]
    lines += [rf"\begin{{tabular}}{{{align}}}", r"\toprule", _line(head), r"\midrule"]
    below = [rf"\multicolumn{{{len(head)}}}{{l}}{{\footnotesize {note}}} \\" for note in notes if note]
    return "\n".join([*lines, *map(_line, rows), r"\bottomrule", *below, r"\end{tabular}"]) + "\n"


def latex_number(mean: float | None, spread: float | None, decimals: int, scale: float = 1.0, mark: str = "") -> str:
    """Return a mean with its spread in LaTeX: ``$97.31 \\pm 0.42$``.

    Args:
        mark: letters above the line after the number, which refer to a note of the table.
    """
    if mean is None:
        return latex_escaped(NONE)
    more = "" if spread is None else rf" \pm {scale * spread:.{decimals}f}"
    return f"${scale * mean:.{decimals}f}{more}{latex_mark(mark)}$"


def latex_interval(mean: float, interval: tuple[float, float] | None, decimals: int, scale: float = 1.0) -> str:
    """Return a difference with its interval in LaTeX: ``$+1.20$ [$+0.40$, $+2.00$]``."""
    ends = [f"${scale * each:+.{decimals}f}$" for each in (mean, *(interval or ()))]
    return ends[0] if interval is None else f"{ends[0]} [{ends[1]}, {ends[2]}]"


def latex_counts(counts: Sequence[int]) -> str:
    """Return the numbers of runs of a row's cells: ``3``, or ``2--3`` if they differ."""
    return "--".join(dict.fromkeys(map(str, (min(counts, default=0), max(counts, default=0)))))


def latex_mark(letters: str) -> str:
    """Return letters above the line, for use in a formula."""
    return rf"^{{\mathrm{{{letters}}}}}" if letters else ""


def _line(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"
