"""Functions over documents: nested mappings of plain data, not checked yet."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gradinc.base.errors import UserError
from gradinc.config.names import written


def mapping(document: Mapping[str, Any], key: str, where: str = "") -> Mapping[str, Any]:
    """Return a section of a document; an empty or missing section is empty.

    Raises:
        UserError: it is a value.
    """
    found = document.get(key)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise UserError(written(f"{where}{key}", found), "is a section, not a value", f"Give {where}{key}.<key>=…")
    return found


def refuse_targets(node: Any, where: str = "") -> None:
    """Refuse import paths: names choose parts.

    Raises:
        UserError: there is a key ``_target_`` at any level.
    """
    if isinstance(node, Mapping):
        for key, item in node.items():
            if key == "_target_":
                raise UserError(f"{where}_target_", "a config cannot name code to run", "Choose parts by name")
            refuse_targets(item, f"{where}{key}.")
    elif isinstance(node, list | tuple):
        for index, item in enumerate(node):
            refuse_targets(item, f"{where}{index}.")


def flat(node: Mapping[str, Any], where: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted keys of a document and their values; an empty section is a value."""
    for name, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{where}{name}.")
        else:
            yield f"{where}{name}", value
