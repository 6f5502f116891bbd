"""Choices without a YAML file: parts of other packages and of the user's folders, with their defaults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from gradinc.config import catalog

_GROUP_OF = {"method": "strategy", "rule": "strategy"}
"""Kinds of parts that are chosen from a group of another name."""

_OFFERED: set[tuple[str, str]] = set()
"""Choices without a YAML file that Hydra has, by group and name."""


def kinds_of(group: str) -> list[str]:
    """Return the kinds of parts that a group's files choose."""
    return [kind for kind in catalog.KINDS if _GROUP_OF.get(kind, kind) == group]


def implied(group: str, named: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return the choices of a group without a YAML file.

    Args:
        named: the names of its files.

    Returns:
        The content that a file would have, by name.
    """
    found: dict[str, dict[str, Any]] = {}
    for part in [part for kind in kinds_of(group) for part in catalog.parts(kind)]:
        if part.package == catalog.OWN or part.name in named:
            continue
        if part.kind == "method":
            found[part.name] = {"methods": {part.name: {}}}
        else:
            found[part.name] = {"window": {"rule": part.name}} if part.kind == "rule" else {"name": part.name}
    return found


def offer(choices: Mapping[tuple[str, str], dict[str, Any]]) -> None:
    """Give Hydra choices without a YAML file, by group and name, and take back earlier ones.

    Hydra would take an earlier choice for the schema of a file with the same name.
    """
    from hydra.core.config_store import ConfigStore  # slow to import

    store = ConfigStore.instance()
    for group, name in _OFFERED - set(choices):
        del store.repo[group][f"{name}.yaml"]
    for (group, name), said in choices.items():
        store.store(name, said, group)
    _OFFERED.clear()
    _OFFERED.update(choices)
