"""Small pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; a pipe in a cell is escaped."""
    lines = [heads, ["---"] * len(heads), *rows]
    return unbroken("\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines))


def unbroken(text: str) -> str:
    """Return a page in whose tables no line ends inside of ``1.2 ± 0.3 %``."""
    kept = re.compile(r"(?<=\d) (?=%)|(?<=\d) (?=±)|(?<=±) (?=\d)")
    return re.sub(r"^\|.*$", lambda row: kept.sub("\u00a0", row[0]), text, flags=re.MULTILINE)


def code(text: str) -> str:
    """Return a text as inline code, or an en dash for an empty text."""
    return f"`{text}`" if text else "–"


def block(language: str, text: str) -> str:
    """Return a block of code."""
    return f"````{language}\n{text.strip()}\n````"


def toctree(names: Iterable[str], *, hidden: bool = True, depth: int = 1) -> str:
    """Return the list of a page's subpages."""
    options = f":maxdepth: {depth}\n" + (":hidden:\n" if hidden else "")
    return "```{toctree}\n" + options + "\n" + "\n".join(names) + "\n```"


def page(*pieces: str) -> str:
    """Return a page: the pieces that are not empty, with an empty line between them."""
    return "\n\n".join(piece.strip("\n") for piece in pieces if piece) + "\n"


def leaf(parent: str, title: str, *pieces: str) -> str:
    """Return a page that is not in the navigation, which would be drawn again on every page: it links to its list."""
    return page("---\norphan: true\n---", title, f"{parent} ›", *pieces)
