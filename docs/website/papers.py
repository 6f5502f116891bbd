"""Named lines of a docstring or of the header of a YAML file, and BibTeX entries of the papers in them.

A line ``Paper:`` is followed, for each arXiv id in it, by a line ``Title:`` and a line ``Authors:``, with names between
commas. ``Limits:`` says what a method needs and where it fails. A long line continues on the next one, indented.
"""

from __future__ import annotations

import re

from website import Incomplete

ARXIV = re.compile(r"arXiv ((?:math/)?\d{4,7}(?:\.\d{4,5})?)")
YEAR = re.compile(r"\b(\d{4})\b")
LINES = re.compile(r"^(Paper|Title|Authors|Neutral|Limits): (.+\n?(?: {4}.+\n?)*)", re.MULTILINE)


def linked(paper: str) -> str:
    """Return the text of a ``Paper:`` line with a link for each arXiv id."""
    return ARXIV.sub(lambda found: f"[arXiv {found[1]}](https://arxiv.org/abs/{found[1]})", paper)


def values(head: str, text: str) -> list[str]:
    """Return what follows ``Title:``, or another head, on each of its lines in a text."""
    return [" ".join(value.split()) for found, value in LINES.findall(text) if found == head]


def bibtex(where: str, paper: str, text: str) -> str:
    """Return the BibTeX entries of a ``Paper:`` line, empty if it has no arXiv id.

    Args:
        where: the file, for messages.
        paper: the line.
        text: the docstring or header with the line.

    Raises:
        Incomplete: an arXiv id has no title or authors, or other first authors than the line says.
    """
    found = list(ARXIV.finditer(paper))
    titles, authors = values("Title", text), values("Authors", text)
    if not len(found) == len(titles) == len(authors):
        raise Incomplete(f"{where}: {paper!r} needs a line Title: and a line Authors: for each arXiv id, after Paper:")
    entries = []
    for number, name, people in zip(found, titles, authors, strict=True):
        names = people.split(", ")
        family, before = names[0].split()[-1], paper[: number.start()]
        if family not in before:
            raise Incomplete(
                f"{where}: the authors of arXiv {number[1]} begin with {family}, and Paper: says {before!r}"
            )
        year = YEAR.findall(before)[-1]
        key = f"{family}{year}{re.sub('[^A-Za-z0-9]', '', name.split()[0])}".lower()
        fields = {"title": name, "author": " and ".join(names), "year": year, "eprint": number[1]}
        fields["archivePrefix"] = "arXiv"
        entries.append(f"@misc{{{key},\n" + "".join(f"  {k} = {{{v}}},\n" for k, v in fields.items()) + "}")
    return "\n\n".join(entries)
