"""Conversion of a table's YAML to a checked `Table`, or to an error of one line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Annotated, Any

from pydantic import StringConstraints

from gradinc.base.errors import UserError
from gradinc.config import catalog
from gradinc.config.check import Words, section, value
from gradinc.config.documents import refuse_targets
from gradinc.config.names import nearest_key, shown, written
from gradinc.config.values import Count
from gradinc.records.results import bounds, is_share
from gradinc.records.statistics import SpreadKind
from gradinc.studies.tables.quantities import read_quantity
from gradinc.studies.tables.specification import (
    PRINTED,
    Article,
    Citation,
    Claim,
    Column,
    Grade,
    Published,
    Row,
    Seeds,
    Side,
    Table,
    Text,
)

NAME = Annotated[str, StringConstraints(pattern=r"\A[\w.+-]+\z"), Words("a word without spaces and commas")]
"""Pattern of names of rows and columns, without commas, which separate names in --rows."""

_NEEDED = {
    "title": "title: Digits, three methods",
    "seeds": "seeds: [0, 1, 2]",
    "protocol": "protocol: [data=digits, model=mlp]",
    "budget": "budget: cpu minutes",
}
"""Keys that a table needs, as they may be written."""

_DEFAULTS: dict[str, Any] = {"grade": Grade, "spread": SpreadKind, "n": Count}
"""Keys of a table for all its printed numbers, with their types."""

_PLAIN = ("title", "budget", "protocol", "data", "digest", "unmeasured")
"""Keys that are checked by their types alone."""


def read_table(name: str, document: Mapping[str, Any]) -> Table:
    """Check a document and return it as a `Table`.

    Raises:
        UserError: a key is unknown or missing, a value does not fit, or the citation is not complete.
    """
    where = f"table {name}: "
    refuse_targets(document, where)
    given = {key: item for key, item in document.items() if key not in _DEFAULTS}
    _refuse_unknown(given, [f.name for f in fields(Table) if f.name != "name"] + list(_DEFAULTS), where)
    defaults = {
        key: value(kind, document[key], f"{where}{key}")
        for key, kind in _DEFAULTS.items()
        if document.get(key) is not None
    }
    rows = {key: _row(item, defaults, f"{where}rows.{key}.") for key, item in _named(given, "rows", where)}
    columns = {key: _column(item, f"{where}columns.{key}.") for key, item in _named(given, "columns", where)}
    printed = any(row.published for row in rows.values())
    plain: dict[str, Any] = {key: given[key] for key in _PLAIN if key in given}
    if not printed:
        plain.setdefault("budget", "cpu minutes")
    citation = _citation(given.get("citation"), where, printed)
    for key, example in _NEEDED.items():
        if (plain if key in _PLAIN else given).get(key) is None:
            raise UserError(f"{where}{key}", "is missing", f"Write it such as {example}")
    table = section(
        Table,
        plain,
        where,
        name=name,
        citation=citation,
        seeds=value(Seeds, given.get("seeds"), f"{where}seeds"),
        columns=columns,
        rows=rows,
        claims=tuple(_claim(item, f"{where}claims.{number}.") for number, item in enumerate(_claims(given, where))),
        notes=tuple(value(list[Text], _or(given.get("notes"), []), f"{where}notes")),
    )
    _check_together(table, where)
    return table


def _check_together(table: Table, where: str) -> None:
    """Check combinations of keys."""
    printed = [column for row in table.rows.values() for column in row.published]
    if printed and table.data is None:
        raise UserError(f"{where}data", "is missing", "Name the data set that the published numbers are of")
    known = [part.name for part in catalog.parts("data")]
    if table.data is not None and table.data not in known and (near := nearest_key(table.data.lower(), known)):
        raise UserError(f"{where}data={table.data}", "no such data set", f"Did you mean {near}?")
    for place, seeds in {"": table.seeds, **{f"rows.{key}.": row.seeds for key, row in table.rows.items()}}.items():
        if seeds is not None and len(set(seeds)) != len(seeds):
            raise UserError(f"{where}{place}seeds={shown(seeds)}", "has a seed twice", "Write each seed once")
    for place, overrides in _override_lists(table):
        _refuse_repeated(overrides, f"{where}{place}")
    for key, row in table.rows.items():
        named: dict[str, Iterable[str]] = {"published": row.published, "cells": row.cells, "columns": row.columns or ()}
        for section_key, column in [(name, column) for name, columns in named.items() for column in columns]:
            place = f"{where}rows.{key}.{section_key}.{column}"
            if column not in table.columns:
                raise _unknown(place, column, table.columns, "no such column")
            if row.columns is not None and column not in row.columns:
                raise UserError(place, "is not among the row's columns", "Add it to them")
        if row.columns is not None and len(set(row.columns)) != len(row.columns):
            raise UserError(
                f"{where}rows.{key}.columns={shown(row.columns)}", "has a column twice", "Write each name once"
            )
    for column in dict.fromkeys(printed):
        if table.columns[column].tolerance is None:
            fix = "Give the widest interval for a reproduced number"
            raise UserError(f"{where}columns.{column}.tolerance", "is missing", fix)
        _check_unit(table, column, f"{where}columns.{column}.unit")
    for number, claim in enumerate(table.claims):
        _check_claim(claim, table, f"{where}claims.{number}")


def _override_lists(table: Table) -> Iterator[tuple[str, Sequence[str]]]:
    """Return every list of overrides, below the key where it stands."""
    yield "protocol", table.protocol
    yield from ((f"columns.{key}.overrides", column.overrides) for key, column in table.columns.items())
    for key, row in table.rows.items():
        yield f"rows.{key}.overrides", row.overrides or ()
        yield from ((f"rows.{key}.cells.{column}", overrides) for column, overrides in row.cells.items())


def _refuse_repeated(overrides: Sequence[str], where: str) -> None:
    """Refuse a list that sets a key twice: the first value would be lost."""
    by_key: dict[str, str] = {}
    for override in overrides:
        key = override.partition("=")[0].strip().lstrip("+~")
        if key in by_key:
            raise UserError(f"{where}: {override}", f"comes after {by_key[key]} in one list", "Write each key once")
        by_key[key] = override


def _check_unit(table: Table, name: str, where: str) -> None:
    """Check that the printed numbers of shares are in the column's unit: in percent, or as shares of 1.

    Raises:
        UserError: they are not.
    """
    column = table.columns[name]
    between = bounds(column.quantity.name, ())
    if between is None or not is_share(column.quantity.name, ()):
        return
    numbers = [row.published[name] for row in table.rows.values() if name in row.published]
    largest = max(numbers, key=lambda each: abs(each.mean))
    if column.unit != "%" and abs(largest.mean) > 1:
        raise UserError(written(where, column.unit), f"{largest.printed} is no share of 1", 'Write unit: "%"')
    if column.unit == "%" and 0 < largest.mean <= 1 and between[0] == 0:  # a difference may be small in percent
        raise UserError(written(where, column.unit), f"{largest.printed} is a share of 1", "Leave the unit out")


def _check_claim(claim: Claim, table: Table, where: str) -> None:
    for side in (claim.of, claim.against):
        if side.row not in table.rows:
            raise _unknown(f"{where}.row={side.row}", side.row, table.rows)
        if side.column not in table.columns:
            raise _unknown(f"{where}.column={side.column}", side.column, table.columns)
        if side.column not in (table.rows[side.row].columns or table.columns):
            what = f"row {side.row} has no such column"
            raise UserError(f"{where}.column={side.column}", what, "Add it to the row's columns")
    if claim.of == claim.against:
        raise UserError(f"{where}.against", "is the cell that it is compared with", "Give another row or column")
    units = [table.columns[side.column].unit for side in (claim.of, claim.against)]
    if claim.compare == "difference" and units[0] != units[1]:
        what = f"a difference of columns with different units, {units[0] or 'none'} and {units[1] or 'none'}"
        raise UserError(where, what, "Give columns of one unit, or compare: ratio")


def _citation(given: Any, where: str, printed: bool) -> Citation | Article | None:
    if given is None and not printed:
        return None
    if given is None:
        raise UserError(f"{where}citation", "is missing", "Give authors, title, arxiv and table")
    kind: type[Citation] | type[Article] = Citation if printed else Article
    if not printed and isinstance(given, Mapping) and "arxiv" in given:
        kind = Citation
    found: Citation | Article = _filled(kind, given, f"{where}citation.")
    return found


def _column(given: Any, where: str) -> Column:
    given = _mapping(given, where)
    own = {key: item for key, item in given.items() if key != "quantity"}
    quantity = read_quantity(given.get("quantity"), f"{where}quantity")
    found: Column = _filled(Column, own, where, quantity=quantity)
    return found


def _row(given: Any, defaults: Mapping[str, Any], where: str) -> Row:
    given = _mapping(given, where)
    printed = _mapping(_or(given.get("published"), {}), f"{where}published.")
    published = {str(key): _published(item, defaults, f"{where}published.{key}") for key, item in printed.items()}
    own = {key: item for key, item in given.items() if key != "published"}
    if given.get("overrides") is None and given.get("absent") is None:
        fix = "Write overrides: [strategy=NAME], [] for the protocol alone, or absent: why the method is not built"
        raise UserError(f"{where}overrides", "is missing", fix)
    found: Row = _filled(Row, own, where, published=published)
    return found


def _published(given: Any, defaults: Mapping[str, Any], where: str) -> Published:
    own: Mapping[str, Any] = given if isinstance(given, Mapping) else {"printed": given}
    _refuse_unknown(own, ["printed", "spread", "n", "grade", "spread_grade"], f"{where}.")
    merged = {**defaults, **own}
    printed = merged.get("printed")
    if not isinstance(printed, str) or not PRINTED.fullmatch(printed):
        what = "need a number in quotes, such as '85.01', '85.01 ± 1.90' or '85.01 (± 1.90)'"
        raise UserError(written(where, printed), what)
    if merged.get("grade") is None:
        raise UserError(f"{where}.grade", "is missing", "Write grade: A, B, C or D, once for the table")
    grade = value(Grade, merged.get("grade"), f"{where}.grade")
    kind = value(SpreadKind | None, merged.get("spread"), f"{where}.spread")
    n = value(Count | None, merged.get("n"), f"{where}.n")
    found = Published(
        printed, kind, n, grade, value(Grade, merged.get("spread_grade") or grade, f"{where}.spread_grade")
    )
    if found.spread is not None and kind is None:
        raise UserError(f"{where}.spread", "is missing", "Say what follows the ±: sd, sem or ci95")
    if kind in ("sem", "ci95") and found.spread is not None and (n is None or n < 2):
        raise UserError(f"{where}.n", f"is missing, and a {kind} means nothing without it", "Give n, 2 or more")
    return found


def _claims(given: Mapping[str, Any], where: str) -> list[Any]:
    found = _or(given.get("claims"), [])
    if not isinstance(found, list):
        raise UserError(f"{where}claims", "is no list", "Begin each claim with a dash")
    return found


def _claim(given: Any, where: str) -> Claim:
    given = _mapping(given, where)
    sides = {key: _filled(Side, given.get(key), f"{where}{key}.") for key in ("of", "against")}
    own = {key: item for key, item in given.items() if key not in sides}
    found: Claim = _filled(Claim, own, where, **sides)
    return found


def _filled(kind: type, given: Any, where: str, **rest: Any) -> Any:
    """Return a section, after a check that its keys are known."""
    given = _mapping(given, where)
    _refuse_unknown(given, [f.name for f in fields(kind)], where)
    for field in fields(kind):
        if field.name not in (*given, *rest) and field.default is MISSING and field.default_factory is MISSING:
            raise UserError(f"{where}{field.name}", "is missing", "Give it in the table's file")
    return section(kind, given, where, **rest)


def _named(given: Mapping[str, Any], key: str, where: str) -> Sequence[tuple[str, Any]]:
    found = _mapping(given.get(key), f"{where}{key}.")
    if not found:
        raise UserError(f"{where}{key}", "is missing", "Give at least one")
    return [(value(NAME, str(name), f"{where}{key}"), item) for name, item in found.items()]


def _or(given: Any, default: Any) -> Any:
    """Return the given value, or the default if there is none."""
    return default if given is None else given


def _mapping(given: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        what = "is missing" if given is None else "is a value, not a section"
        raise UserError(where.rstrip("."), what, "Give keys and values")
    return given


def _refuse_unknown(given: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    for key in given:
        if key not in known:
            raise _unknown(f"{where}{key}", str(key), known)


def _unknown(where: str, name: str, known: Sequence[str] | Mapping[str, Any], what: str = "no such key") -> UserError:
    near = nearest_key(name, list(known))
    return UserError(where, what, f"Did you mean {near}?" if near else f"One of {', '.join(known)}")
