"""The content of ``conf/table/<name>.yaml``: source of the numbers, protocol, and measurement of each cell."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Len
from pydantic import StringConstraints

from gradinc.config.check import Words
from gradinc.records.statistics import SpreadKind
from gradinc.studies.tables.quantities import Quantity

Text = Annotated[str, StringConstraints(pattern=r"\S"), Words("text")]
Overrides = list[Text]
Seeds = Annotated[tuple[Annotated[int, Ge(0)], ...], Len(1)]
Grade = Literal["A", "B", "C", "D"]
Digest = Annotated[str, StringConstraints(pattern=r"\A[0-9a-f]{64}\z"), Words("a sha256 of 64 digits")]
Arxiv = Annotated[
    str, StringConstraints(pattern=r"\A[0-9]{2}(0[1-9]|1[0-2])\.[0-9]{4,5}\z"), Words("text like '2004.07211'")
]

GRADES = {
    "A": "printed by the authors' own repository",
    "B": "read in the paper's text",
    "C": "transcribed by a third party (secondary source)",
    "D": "quoted in another paper (secondary source)",
}
PRIMARY = ("A", "B")
"""Grades whose numbers are judged."""

_DIGITS = r"[0-9]{1,15}"
_SPREAD = rf"(?:±|\+-|\+/-)\s*<?({_DIGITS}(?:\.{_DIGITS})?)"
PRINTED = re.compile(rf"([+-]?{_DIGITS}(?:\.({_DIGITS}))?)(?:\s*{_SPREAD}|\s*\(\s*{_SPREAD}\s*\))?")
"""A printed number, such as ``85.01``, ``85.01 ± 1.90`` or ``85.01 (± 1.90)``."""

_MOST = 1e9
"""The largest tolerance or effect: no table's numbers differ by more."""


@dataclass(frozen=True)
class Citation:
    """The publication of the numbers.

    Attributes:
        authors: authors, as in a reference list.
        title: title of the paper or article.
        arxiv: its arXiv number.
        table: number of the table in the paper.
        source: the repository and commit that numbers or protocol were read from.
    """

    authors: Text
    title: Text
    arxiv: Arxiv
    table: Text
    year: Annotated[int, Ge(1900), Le(2100)] | None = None
    source: Text | None = None

    def __str__(self) -> str:
        year = "" if self.year is None else f" {self.year}"
        source = "" if self.source is None else f"; {self.source}"
        return f"{self.authors}{year}, {self.title}, arXiv {self.arxiv}, {self.table}{source}"


@dataclass(frozen=True)
class Article:
    """The subject of a table without published numbers."""

    title: Text
    authors: Text | None = None
    year: Annotated[int, Ge(1900), Le(2100)] | None = None

    def __str__(self) -> str:
        year = "" if self.year is None else f" {self.year}"
        return self.title if self.authors is None else f"{self.authors}{year}, {self.title}"


@dataclass(frozen=True)
class Published:
    """A number as it is printed.

    Attributes:
        printed: mean and spread, as in the paper.
        kind: kind of the spread.
        n: number of its runs; None if the paper does not give it.
        grade, spread_grade: where the mean and the spread were read.
    """

    printed: str
    kind: SpreadKind | None
    n: int | None
    grade: Grade
    spread_grade: Grade

    @property
    def mean(self) -> float:
        return float(self._match[1])

    @property
    def spread(self) -> float | None:
        found = self._match[3] or self._match[4]
        return None if found is None else float(found)

    @property
    def unit(self) -> float:
        """One unit of the last printed digit."""
        return 10.0 ** -len(self._match[2] or "")

    @property
    def decimals(self) -> int:
        return len(self._match[2] or "")

    @property
    def _match(self) -> re.Match[str]:
        match = PRINTED.fullmatch(self.printed)
        assert match is not None
        return match


@dataclass(frozen=True)
class Column:
    """One measured quantity.

    Attributes:
        title: its heading.
        quantity: the quantity that is read from each run.
        unit: unit that is printed after numbers; ``%`` multiplies shares by 100.
        tolerance: the widest interval with which a number counts as reproduced, in that unit.
        overrides: values of its runs in addition to the protocol.
    """

    title: Text
    quantity: Quantity
    unit: str = ""
    tolerance: Annotated[float, Gt(0), Le(_MOST)] | None = None
    decimals: Annotated[int, Ge(0), Le(15)] = 2
    overrides: Overrides = field(default_factory=list)

    @property
    def scale(self) -> float:
        return 100.0 if self.unit == "%" else 1.0


@dataclass(frozen=True)
class Row:
    """One method.

    Attributes:
        title: its heading.
        overrides: its strategy and options; None if the method is not built.
        cells: additional overrides for single columns.
        columns: its columns; by default all.
        seeds: its seeds, in place of the table's: more where its spread is wide, fewer where its runs are long.
        published: the printed numbers, by column.
        note: a note for readers of its numbers.
        absent: reason for missing overrides, if any.
        not_judged: reason for the lack of a verdict, if any: a part of its protocol was not found.
    """

    title: Text
    overrides: Overrides | None = None
    cells: dict[str, Overrides] = field(default_factory=dict)
    columns: Annotated[list[Text], Len(1)] | None = None
    seeds: Seeds | None = None
    published: dict[str, Published] = field(default_factory=dict)
    note: Text | None = None
    absent: Text = "method not built"
    not_judged: Text | None = None


@dataclass(frozen=True)
class Side:
    """A cell of our own, by row and column."""

    row: Text
    column: Text


@dataclass(frozen=True)
class Claim:
    """A sentence, and the comparison that decides about it.

    Attributes:
        claim: the sentence.
        of, against: the two cells that are compared, paired by seed.
        better: whether the claim is that `of` is higher or lower.
        compare: ``difference``, ``ratio``, or ``spread``: the ratio of the standard deviations over seeds.
        effect: the smallest relevant difference, in the column's unit; for a ratio, its distance from 1.
    """

    claim: Text
    of: Side
    against: Side
    better: Literal["higher", "lower"]
    effect: Annotated[float, Ge(0), Le(_MOST)]
    compare: Literal["difference", "ratio", "spread"] = "difference"


@dataclass(frozen=True)
class Table:
    """A published table, or one of our own.

    Attributes:
        name: its name on the command line.
        data: the data set of the published numbers.
        digest: digest of these data under the protocol, as runs record it under ``data``; None if not known.
        budget: approximate cost of the whole table.
        seeds: seeds of every row without its own.
        protocol: overrides of every run.
        unmeasured: claims that gradinc does not measure, with the reason.
        notes: pitfalls, and known causes of differences.
    """

    name: str
    title: Text
    citation: Citation | Article | None
    budget: Literal["cpu minutes", "cpu hours", "gpu"]
    seeds: Seeds
    protocol: Overrides
    columns: dict[str, Column]
    rows: dict[str, Row]
    data: Text | None = None
    digest: Digest | None = None
    claims: tuple[Claim, ...] = ()
    unmeasured: dict[str, Text] = field(default_factory=dict)
    notes: tuple[Text, ...] = ()

    def seeds_of(self, row: str) -> tuple[int, ...]:
        """Return the seeds of a row's runs."""
        return self.rows[row].seeds or self.seeds

    def arguments(self, row: str, column: str) -> tuple[str, ...]:
        """Return the arguments of a cell's runs, in the order in which they are applied, without the seed."""
        line = self.rows[row]
        own = (*(line.overrides or ()), *line.cells.get(column, ()))
        return (*self.protocol, *self.columns[column].overrides, *own)
