"""Python values as arguments of the command line: a run from Python is the run of a command."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from gradinc.base.errors import UserError
from gradinc.config import groups
from gradinc.config.overrides import KEY

_PLAIN = re.compile(r"(?!(?:null|true|false|inf|nan)\Z)[A-Za-z_][\w./-]*", re.IGNORECASE)
"""Text that Hydra's grammar reads as text without quotes."""


def arguments(words: Iterable[Any], keys: Mapping[str, Any], *, sweeps: bool = False) -> list[str]:
    """Return the arguments for words and keys from Python, in their order: ``key=value`` texts.

    A mapping is a section: ``budget={"epochs": 2}`` is ``budget.epochs=2``. In a section of a group, ``name`` is the
    choice: ``model={"name": "cnn", "width": 48}`` is ``model=cnn model.width=48``.

    Args:
        words: texts, which are used as they are, and mappings of keys.
        keys: more keys.
        sweeps: whether a list, tuple or range has the values of a sweep instead of being one value.

    Raises:
        UserError: a value is neither text, a number, None, nor made of these.
    """
    found: list[str] = []
    for word in words:
        if isinstance(word, Mapping):
            found += _section(word, "", sweeps)
        elif isinstance(word, str):
            found.append(word)
        else:
            raise UserError(repr(word), "is no argument", 'Give texts such as "model=cnn", or keys: model="cnn"')
    return [*found, *_section(keys, "", sweeps)]


def literal(key: str, value: Any) -> str:
    """Return a value as Hydra's grammar writes it.

    Args:
        key: its key, for messages.

    Raises:
        UserError: it cannot be written.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a number of NumPy or PyTorch
        value = value.item()
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) else _quoted(value)
    if isinstance(value, os.PathLike):
        return literal(key, os.fspath(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{name}:{literal(key, item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple | range):
        return "[" + ",".join(literal(key, item) for item in value) + "]"
    raise UserError(f"{key}={type(value).__name__}", "is no value of a key", "Give a number, text, a list or a dict")


def _section(section: Mapping[Any, Any], where: str, sweeps: bool) -> Iterator[str]:
    for name, value in section.items():
        key = f"{where}{name}"
        if isinstance(value, Mapping) and value and all(KEY.fullmatch(str(each)) for each in value):
            if key in groups.GROUPS and "name" in value:
                yield f"{key}={_values(key, value['name'], sweeps)}"
                value = {each: item for each, item in value.items() if each != "name"}
            yield from _section(value, f"{key}.", sweeps)
        else:
            yield f"{key}={_values(key, value, sweeps)}"


def _values(key: str, value: Any, sweeps: bool) -> str:
    several = sweeps and (isinstance(value, list | tuple | range) or getattr(value, "ndim", 0) == 1)
    if not several:
        return literal(key, value)
    if len(value) == 0:
        raise UserError(key, "has no value to sweep over", "Give at least one")
    return ",".join(literal(key, each) for each in value)


def _quoted(text: str) -> str:
    """Return text in quotes; in Hydra's grammar a backslash is special only before a quote."""
    doubled = re.sub(r"(\\+)(?='|$)", lambda found: found[1] * 2, text)
    return "'" + doubled.replace("'", "\\'") + "'"
