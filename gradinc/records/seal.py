"""The seal of a record: one digest, in a JSON document, of the document and of the files that its numbers come from.

A run seals ``result.json`` when it has ended; a search, a sweep and a measurement seal their documents. Every reader
of a number first checks the seal. A seal detects damage. It is not a signature: anyone who can write the files can
also write another seal.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gradinc.base.files import open_plain

SEAL = "seal"
"""Key of the seal in its document: ``files`` with the size and SHA-256 of each, and ``digest`` of the whole."""

_HEAD = 32
"""Bytes at the beginning of a checkpoint: the SHA-256 of the rest, checked when the weights are loaded."""

CHANGED = "was changed after it was sealed"
"""Text for a document or a file that exists but differs from the sealed one."""

_PIECE = 1 << 20
"""Bytes that are read at a time."""


def seal(record: Mapping[str, Any], folder: Path, files: Iterable[str] = ()) -> dict[str, Any]:
    """Return a document with a new seal.

    Args:
        record: the document to be written as JSON.
        folder: the folder of the files.
        files: names in the folder; names under ``ckpt/`` are checkpoints.
    """
    found: dict[str, Any] = {name: _facts(folder, name) for name in files}
    document = {**record, SEAL: {"files": found}}
    return {**document, SEAL: {"files": found, "digest": _digest(document)}}


def check_seal(record: Mapping[str, Any], folder: Path, *, growing: bool = False) -> dict[str, str]:
    """Return the files that differ from the sealed ones, and what is wrong; empty for a document without a seal.

    Args:
        record: a document that `is_intact`.
        folder: the folder of the files.
        growing: whether files may have become longer since.
    """
    wrong = {}
    for name, was in (record[SEAL]["files"] if SEAL in record else {}).items():
        size = _size(folder / name)
        if size is None:
            wrong[name] = "is missing"
        elif was is None or not _is_same(folder, name, size, was, growing=growing):
            wrong[name] = CHANGED
    return wrong


def is_intact(record: Mapping[str, Any]) -> bool:
    """Return whether a document is as it was sealed, its files aside; a document without a seal is accepted."""
    if SEAL not in record:
        return True
    sealed = record[SEAL]
    files = sealed.get("files") if isinstance(sealed, dict) else None
    if not isinstance(files, dict) or not all(was is None or _is_file(was) for was in files.values()):
        return False
    try:
        return bool(sealed.get("digest") == _digest({**record, SEAL: {"files": files}}))
    except (ValueError, RecursionError):  # deeper than any sealed document
        return False


def _digest(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a document as canonical JSON: sorted keys, no spaces."""
    plain = json.loads(json.dumps(document))  # a key that is a number is text in the file
    return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def _is_file(was: Any) -> bool:
    size = was.get("bytes") if isinstance(was, dict) else None
    return type(size) is int and size >= 0 and isinstance(was.get("sha256"), str)


def _facts(folder: Path, name: str) -> dict[str, Any] | None:
    size = _size(folder / name)
    if size is None:
        return None
    with open(folder / name, "rb") as file:
        os.fsync(file.fileno())  # after a power failure the seal must not exist without the sealed files
    return {"bytes": size, "sha256": _file_digest(folder, name, size)}


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size if path.is_file() else None
    except (OSError, ValueError):  # a name that is too long, or with a NUL
        return None


def _is_same(folder: Path, name: str, size: int, was: Mapping[str, Any], *, growing: bool) -> bool:
    if size < was["bytes"] or (size > was["bytes"] and not growing):
        return False
    return _file_digest(folder, name, was["bytes"]) == was["sha256"]


def _file_digest(folder: Path, name: str, size: int) -> str | None:
    """Return the SHA-256 of the first `size` bytes of a file; for a checkpoint, the one that it begins with."""
    try:
        with open_plain(folder / name) as file:
            if name.startswith("ckpt/"):
                return file.read(_HEAD).hex()
            total = hashlib.sha256()
            while size and (piece := file.read(min(_PIECE, size))):
                total.update(piece)
                size -= len(piece)
            return total.hexdigest()
    except OSError:
        return None
