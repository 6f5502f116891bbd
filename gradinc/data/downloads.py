"""Downloads of sets with torchvision, which checks their md5 sums."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.data import locations
from gradinc.data.torchvision_import import import_torchvision

SECONDS = 30
"""Seconds of silence of a server until the download fails."""


def download(name: str, root: str | None) -> Path:
    """Download a set into ``data.root``, or into gradinc's cache.

    Everything is downloaded and checked in a folder next to the target and moved there as a whole, so
    that an interrupted download leaves no partial set.

    Returns:
        The folder that `locations.find` then finds.

    Raises:
        UserError: the download failed; the message lists what was tried, and the fix.
    """
    target = Path(root).expanduser() if root is not None else locations.cache_folder(name)
    label = locations.DOWNLOADABLE[name].label
    print(f"downloading {name} to {target}", file=sys.stderr, flush=True)
    made_target = not target.exists()
    try:
        target.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target))
    except OSError as error:
        raise UserError(
            str(target), f"cannot be written ({error.strerror})", "Choose another folder: data.root=DIR"
        ) from None
    try:
        datasets = import_torchvision("datasets")
        with _patience():
            getattr(datasets, label)(root=str(staging), download=True)
        for made in staging.iterdir():
            if made.is_dir():
                _move(made, target / made.name)
    except (OSError, RuntimeError, EOFError) as error:
        raise UserError(f"data={name}", _failure(name, root, error), _fix(name)) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        if made_target:
            with contextlib.suppress(OSError):  # it holds the set now
                target.rmdir()
    found = locations.find(name, root)
    assert found is not None
    return found


def _move(made: Path, target: Path) -> None:
    """Move a folder to its place. If another process was faster, its folder stays."""
    try:
        os.rename(made, target)
    except OSError:
        if not target.is_dir():
            raise


@contextlib.contextmanager
def _patience() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _failure(name: str, root: str | None, error: Exception) -> str:
    tried = ", ".join(str(folder) for folder in locations.tried(name, root))
    reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return f"not on this machine (looked in {tried}), and the download failed ({reason})"


def _fix(name: str) -> str:
    known = locations.DOWNLOADABLE[name]
    if known.folder is not None:
        return f"Give data.root=DIR, with {known.folder} in DIR, or use data=digits"
    system = f"Install Debian's package {known.package}, or g" if known.package else "G"
    return f"{system}ive data.root=DIR, with the set's four IDX files in DIR, or use data=digits"
