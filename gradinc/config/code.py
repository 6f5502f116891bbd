"""The code that a run is made by, as digests: gradinc's own, and that of every other package that has a part in it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from gradinc.config import catalog
from gradinc.config.placing import chosen

OWN = "gradinc"

MAKING = (
    "base/randomness.py",
    "config",
    "core",
    "data",
    "dues",
    "methods",
    "models",
    "records/metrics.py",
    "rules",
    "runs",
)
"""The folders and files of gradinc that can change a number of a run. Commands, studies and reports cannot."""


def code_digests(document: Mapping[str, Any]) -> dict[str, str]:
    """SHA-256 over the source of gradinc and of each package that a run has a part from, as this process found it.

    Of gradinc the files of `MAKING` count. Of another package every Python file counts, since nobody can say which of
    them a part reaches; of a single module, its file.

    Args:
        document: the run's config.

    Returns:
        For the name of each package its digest, gradinc's first.

    Raises:
        UserError: a part is not there.
    """
    parts = chosen(document)
    names = [*parts.parts.items(), *(("method", name) for name in parts.methods)]
    packages = {catalog.part(kind, name).module.partition(".")[0] for kind, name in names}
    return {package: package_digest(package) for package in (OWN, *sorted(packages - {OWN}))}


def registered_packages() -> list[str]:
    """gradinc and every package that registers a part."""
    modules = [part.module for kind in catalog.KINDS for part in catalog.parts(kind)]
    return sorted({OWN, *(module.partition(".")[0] for module in modules)})


@cache
def package_digest(package: str = OWN) -> str:
    """SHA-256 over the source of a top-level package or a single module: the files that can change a number."""
    total = hashlib.sha256()
    for root, path in _sources(package):
        total.update(f"{path.relative_to(root).as_posix()}\n".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def recorded_digests(meta: Mapping[str, Any] | None) -> dict[str, str]:
    """The digests in a run's ``meta.json``, by package; what it has in another form is left out."""
    plugins = (meta or {}).get("plugins")
    found = {OWN: (meta or {}).get("code"), **(plugins if isinstance(plugins, Mapping) else {})}
    return {package: digest for package, digest in found.items() if isinstance(digest, str)}


def edited(meta: Mapping[str, Any] | None, document: Mapping[str, Any]) -> str | None:
    """Whose code is not that which a run's record says it was made by: ``gradinc's and mylab's``; None if nobody's.

    Args:
        meta: the run's ``meta.json``.
        document: its config.
    """
    before = recorded_digests(meta)
    names = [f"{package}'s" for package, now in code_digests(document).items() if before.get(package) != now]
    return " and ".join(names) or None


def segment_digests(document: Mapping[str, Any]) -> dict[str, str]:
    """The same in short, as a start of a run records them: ``code``, and ``plugins`` where there are any."""
    digests = {package: digest[:12] for package, digest in code_digests(document).items()}
    own = digests.pop(OWN)
    return {"code": own, **({"plugins": " ".join(map(" ".join, digests.items()))} if digests else {})}


def _sources(package: str) -> list[tuple[Path, Path]]:
    """The Python files of a package that count, each with the folder that its path is relative to."""
    if package == OWN:
        places = [catalog.PACKAGE / place for place in MAKING]
        return [(catalog.PACKAGE, path) for place in places for path in _python_files(place)]
    spec = PathFinder.find_spec(package)
    roots = [Path(root) for root in (spec and spec.submodule_search_locations) or ()]
    if not roots and spec is not None and spec.origin:
        return [(Path(spec.origin).parent, Path(spec.origin))]
    return [(root, path) for root in roots for path in _python_files(root)]


def _python_files(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]
