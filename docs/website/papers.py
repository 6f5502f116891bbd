"""BibTeX entries of the papers that the parts name."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

from website import Incomplete

ARXIV = re.compile(r"arXiv ((?:math/)?\d{4,7}(?:\.\d{4,5})?)")
YEAR = re.compile(r"\b(\d{4})\b")


@cache
def _known() -> dict[str, tuple[str, str]]:
    """Return authors and title by arXiv id."""
    lines = (Path(__file__).parent / "papers.txt").read_text(encoding="utf-8").splitlines()
    rows = [line.split(" | ") for line in lines if not line.startswith("#")]
    return {number: (authors, title) for number, authors, title in rows}


def linked(paper: str) -> str:
    """Return the text of a ``Paper:`` line with a link for each arXiv id."""
    return ARXIV.sub(lambda found: f"[arXiv {found[1]}](https://arxiv.org/abs/{found[1]})", paper)


def title(number: str) -> str:
    """Return the title of a paper."""
    return _known()[number][1]


def bibtex(paper: str) -> str:
    """Return the BibTeX entries of a ``Paper:`` line, empty if it has no arXiv id.

    Raises:
        Incomplete: papers.txt lacks an id, or has other first authors for it.
    """
    entries = []
    for found in ARXIV.finditer(paper):
        number, before = found[1], paper[: found.start()]
        if number not in _known():
            raise Incomplete(f"docs/website/papers.txt: no line for arXiv {number}, which {paper!r} names")
        authors, name = _known()[number]
        year = YEAR.findall(before)[-1]
        family = authors.split(" and ")[0].split()[-1]
        if family not in before:
            raise Incomplete(f"docs/website/papers.txt: arXiv {number} is by {family}, and the part says {before!r}")
        key = f"{family}{year}{re.sub('[^A-Za-z0-9]', '', name.split()[0])}".lower()
        fields = {"title": name, "author": authors, "year": year, "eprint": number, "archivePrefix": "arXiv"}
        entries.append(f"@misc{{{key},\n" + "".join(f"  {k} = {{{v}}},\n" for k, v in fields.items()) + "}")
    return "\n\n".join(entries)
