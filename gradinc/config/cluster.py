"""The engine for the jobs of a sweep: a choice of the command, and not a part of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from gradinc.base.errors import UserError
from gradinc.config import catalog
from gradinc.config.check import part_options
from gradinc.config.names import nearest_key, shown


@dataclass(frozen=True)
class Cluster:
    """The engine that runs a sweep, and its options."""

    name: str = "local"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_here(self) -> bool:
        """Return whether the jobs run on this machine."""
        return self.name == "local"


def cluster(document: Mapping[str, Any]) -> Cluster:
    """Check the ``cluster`` section of a composed tree.

    Raises:
        UserError: the engine has no such option, or a value does not fit.
    """
    part = catalog.part("cluster", shown(document.get("name", "local")))
    for key in document:
        if key != "name" and key not in part.parameters:
            owners = [f"cluster={other.name}" for other in catalog.parts("cluster") if key in other.parameters]
            near = nearest_key(f"cluster.{key}", (f"cluster.{name}" for name in part.parameters))
            fix = f"It is one of {', '.join(owners)}" if owners else f"Did you mean {near}?" if near else ""
            raise UserError(f"cluster.{key}", f"cluster={part.name} has no such option", fix)
    found = part_options(part, document, "cluster.")
    if found.get("n_jobs") == 0:
        raise UserError("cluster.n_jobs=0", "no job would ever run", "Give 1 or more, or -1 for all processors")
    return Cluster(part.name, found)


@cache
def short_keys() -> frozenset[str]:
    """The options of all engines, which may be written without ``cluster.`` before them."""
    return frozenset(key for part in catalog.parts("cluster") for key in part.parameters)
