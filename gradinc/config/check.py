"""Checks of values against types; a message says in one line what is wrong and what would be right."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import annotated_types
from pydantic import ConfigDict, TypeAdapter, ValidationError

from gradinc.base.errors import UserError
from gradinc.base.files import is_utf8
from gradinc.config.catalog import Part
from gradinc.config.names import choose, shown, written
from gradinc.config.signature import REQUIRED

_Section = TypeVar("_Section")


@dataclass(frozen=True)
class Words:
    """Annotation of a type with a text for its values, if a range does not describe them."""

    text: str


def value(annotation: Any, given: Any, where: str) -> Any:
    """Return a value of the required type, without converting text to a number or a number to text.

    Args:
        annotation: the type, with its range.
        given: the value in the config; a list can also be a tuple, which YAML does not have.
        where: the key, for messages.

    Raises:
        UserError: the value does not fit.
    """
    if not _has_nan(given):
        if isinstance(given, bool) and shown(given) in (literals(annotation) or []):
            given = shown(given)  # YAML reads the word true as a truth value, even among names
        try:
            found = _adapter(annotation).validate_python(_with_tuples(annotation, given))
        except ValidationError:
            raise _wrong(annotation, given, where) from None
        if _has_other_bytes(given):
            raise UserError(written(where, given), "is not UTF-8", "Rename it")
        if _has_giant(given):
            raise UserError(written(where, given), "is too large", f"Give {described(annotation)}, below 2⁶³")
        return found
    raise _wrong(annotation, given, where)


def section(kind: type[_Section], given: Mapping[str, Any], where: str, **rest: Any) -> _Section:
    """Return a section of the config, after a check of each key.

    Args:
        kind: its dataclass.
        given: some of its keys and their values; the other keys have their defaults.
        where: prefix of the keys in messages, with the dot.
        rest: fields that are already checked.

    Raises:
        UserError: a value is wrong or missing.
    """
    hints: dict[str, Any] = _hints(kind)  # type: ignore[arg-type]
    found = dict(rest)
    for field in fields(kind):  # type: ignore[arg-type]
        if field.name in given:
            found[field.name] = value(hints[field.name], given[field.name], where + field.name)
        elif field.name not in rest and field.default is MISSING and field.default_factory is MISSING:
            raise _missing(hints[field.name], where + field.name)
    return kind(**found)


def part_options(part: Part, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return a part's own options, in the order of its signature, with defaults for missing options.

    Raises:
        UserError: as `section`.
    """
    found = {}
    for name, parameter in part.parameters.items():
        chosen = given.get(name, parameter.default)
        if chosen is REQUIRED:
            raise _missing(parameter.annotation, where + name)
        found[name] = value(parameter.annotation, chosen, where + name)
    return found


def as_plain(item: Any) -> Any:
    """Return a value as YAML and JSON store it, with lists for tuples."""
    if isinstance(item, list | tuple):
        return [as_plain(entry) for entry in item]
    if isinstance(item, dict):
        return {key: as_plain(entry) for key, entry in item.items()}
    return item


def described(annotation: Any, *, plural: bool = False) -> str:
    """Describe the values of a type: ``a whole number ≥ 1``."""
    if annotation in _WORDS:
        return _WORDS[annotation][plural]
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        words = [item.text for item in arguments[1:] if isinstance(item, Words)]
        return words[0] if words else described(arguments[0], plural=plural) + _range(arguments[1:])
    if origin is Literal:
        return " or ".join(shown(item) for item in arguments)
    if _is_union(origin):
        return " or ".join(described(argument, plural=plural) for argument in arguments)
    if origin in (list, tuple) and arguments:
        inner = " and ".join(dict.fromkeys(described(a, plural=True) for a in arguments if a is not ...))
        count = f" {len(arguments)}" if origin is tuple and ... not in arguments else ""
        return f"{'lists' if plural else 'a list'} of{count} {inner}"
    if origin is dict and len(arguments) == 2:
        return "a mapping of " + " to ".join(described(argument, plural=True) for argument in arguments)
    return {list: "a list", tuple: "a list", dict: "a mapping"}.get(annotation, str(annotation))


def literals(annotation: Any) -> list[Any] | None:
    """Return the choices of a type that has only choices, including null; None for other types."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is bool:
        return [True, False]
    if annotation is types.NoneType:
        return [None]
    if origin is Literal:
        return list(arguments)
    if _is_union(origin):
        found = [literals(argument) for argument in arguments]
        return [item for items in found if items for item in items] if all(found) else None
    return None


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation, config=ConfigDict(strict=True))


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def _wrong(annotation: Any, given: Any, where: str) -> UserError:
    choices = literals(annotation)
    if choices is not None:
        return UserError(written(where, given), "unknown", choose(shown(given), [shown(item) for item in choices]))
    needed = described(annotation)
    if "number" in needed and _has_quoted_number(given):
        return UserError(written(where, given), f"need {needed}, and this is text", "Leave out the quotes")
    if isinstance(given, str) and needed.startswith("a list of text"):
        return UserError(written(where, given), f"need {needed}", f"Write [{given}]")
    return UserError(written(where, given), f"need {needed}")


def _missing(annotation: Any, where: str) -> UserError:
    return UserError(where, "is missing", f"Give {where}=…, {described(annotation)}")


def _has_nan(item: Any) -> bool:
    if isinstance(item, dict):
        return any(_has_nan(entry) for entry in item.values())
    if isinstance(item, list | tuple):
        return any(_has_nan(entry) for entry in item)
    return isinstance(item, float) and math.isnan(item)


def _has_quoted_number(item: Any) -> bool:
    """Return whether a value is a text that looks like a number, or a list with such a text."""
    if isinstance(item, list | tuple):
        return any(_has_quoted_number(entry) for entry in item)
    try:
        return isinstance(item, str) and math.isfinite(float(item))
    except ValueError:
        return False


def _has_giant(item: Any) -> bool:
    """Return whether a value contains a whole number too large for a machine word and thus for a tensor."""
    if isinstance(item, dict):
        return any(_has_giant(entry) for entry in item.values())
    if isinstance(item, list | tuple):
        return any(_has_giant(entry) for entry in item)
    return isinstance(item, int) and not -(2**63) <= item < 2**63


def _has_other_bytes(item: Any) -> bool:
    """Return whether a value contains text from bytes that are not UTF-8, which no file of a run can store."""
    if isinstance(item, dict):
        return any(_has_other_bytes(entry) for pair in item.items() for entry in pair)
    if isinstance(item, list | tuple):
        return any(_has_other_bytes(entry) for entry in item)
    return isinstance(item, str) and not is_utf8(item)


def _with_tuples(annotation: Any, item: Any) -> Any:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _with_tuples(arguments[0], item)
    if _is_union(origin):
        for argument in arguments:
            item = _with_tuples(argument, item)
    elif isinstance(item, list) and (origin or annotation) is tuple:
        inner = arguments if arguments[-1:] != (...,) else arguments[:1] * len(item)
        if len(inner) == len(item):
            item = [_with_tuples(argument, entry) for argument, entry in zip(inner, item, strict=True)]
        return tuple(item)
    elif isinstance(item, list) and origin is list:
        return [_with_tuples(arguments[0], entry) for entry in item]
    return item


def _is_union(origin: Any) -> bool:
    return origin is typing.Union or origin is types.UnionType


_WORDS = {
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true or false"),
    str: ("text", "texts"),
    types.NoneType: ("null", "null"),
    Any: ("a value", "values"),
}

_SIGNS = {annotated_types.Ge: "≥", annotated_types.Gt: ">", annotated_types.Le: "≤", annotated_types.Lt: "<"}


def _range(metadata: Iterable[Any]) -> str:
    bounds = [
        f"{sign} {shown(getattr(item, kind.__name__.lower()))}"
        for item in metadata
        for kind, sign in _SIGNS.items()
        if isinstance(item, kind)
    ]
    return " " + " and ".join(bounds) if bounds else ""
