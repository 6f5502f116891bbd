"""The code of a run as digests: gradinc's, and that of every other package with a part in the run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from gradinc.config import catalog
from gradinc.config.catalog import OWN
from gradinc.config.documents import mapping
from gradinc.config.parts_folder import PartsFolder, used_folders
from gradinc.config.placing import chosen

MAKING = (
    "base/randomness.py",
    "config",
    "core",
    "criteria",
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
    """Return the SHA-256 over the source of gradinc and of each package with a part in a run, as loaded by this
    process.

    For gradinc the files of `MAKING` count. For another package or a folder every Python file counts, because the
    files that a part uses are not known; for a single module, its file.

    Args:
        document: the run's config.

    Returns:
        The digest of each package by its name, gradinc's first.

    Raises:
        UserError: a part does not exist.
    """
    parts = chosen(document)
    names = [*parts.parts.items(), *(("method", name) for name in parts.methods)]
    names += [("metric", str(name)) for name in document.get("metrics") or ()]
    names += [("augmentation", str(name)) for name in mapping(document, "data").get("augment") or ()]
    packages = {catalog.part(kind, name).package for kind, name in names}
    return {package: package_digest(package) for package in (OWN, *sorted(packages - {OWN}))}


def registered_packages() -> list[str]:
    """Return gradinc and every package that registers a part."""
    return sorted({OWN, *(part.package for kind in catalog.KINDS for part in catalog.parts(kind))})


def package_digest(package: str = OWN) -> str:
    """Return the SHA-256 over the source files of a package, a module or a folder of parts that can change a number.

    Code that this process has loaded stays the same, so the digest is computed once.
    """
    return _digest_once(package, used_folders())


@cache
def _digest_once(package: str, folders: tuple[PartsFolder, ...]) -> str:
    return current_digest(package)


def current_digest(package: str) -> str:
    """Return the digest of the files as they are now."""
    total = hashlib.sha256()
    for root, path in _sources(package):
        total.update(f"{path.relative_to(root).as_posix()}\n".encode())
        total.update(path.read_bytes())
    return total.hexdigest()


def recorded_digests(meta: Mapping[str, Any] | None) -> dict[str, str]:
    """Return the digests in a run's ``meta.json``, by package, without entries in another form."""
    plugins = (meta or {}).get("plugins")
    found = {OWN: (meta or {}).get("code"), **(plugins if isinstance(plugins, Mapping) else {})}
    return {package: digest for package, digest in found.items() if isinstance(digest, str)}


def edited(meta: Mapping[str, Any] | None, document: Mapping[str, Any]) -> str | None:
    """Return the packages whose code differs from a run's record: ``gradinc's and mylab's``; None if no code differs.

    Args:
        meta: the run's ``meta.json``.
        document: its config.
    """
    before = recorded_digests(meta)
    names = [f"{package}'s" for package, now in code_digests(document).items() if before.get(package) != now]
    return " and ".join(names) or None


def segment_digests(document: Mapping[str, Any]) -> dict[str, str]:
    """Return short digests for the record of a start: ``code``, and ``plugins`` if there are any."""
    digests = {package: digest[:12] for package, digest in code_digests(document).items()}
    own = digests.pop(OWN)
    return {"code": own, **({"plugins": " ".join(map(" ".join, digests.items()))} if digests else {})}


def _sources(package: str) -> list[tuple[Path, Path]]:
    """Return the Python files of a package that count, each with the folder that its path is relative to."""
    if package == OWN:
        places = [catalog.PACKAGE / place for place in MAKING]
        return [(catalog.PACKAGE, path) for place in places for path in _python_files(place)]
    for folder in used_folders():
        if folder.name == package:
            return [(folder.path, path) for path in folder.sources()]
    spec = PathFinder.find_spec(package)
    roots = [Path(root) for root in (spec and spec.submodule_search_locations) or ()]
    if not roots and spec is not None and spec.origin:
        return [(Path(spec.origin).parent, Path(spec.origin))]
    return [(root, path) for root in roots for path in _python_files(root)]


def _python_files(place: Path) -> list[Path]:
    return sorted(place.rglob("*.py")) if place.is_dir() else [place]
