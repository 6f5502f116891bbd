"""Checkpoints: whole or absent, checked before use, and the one before is kept.

A file is 32 bytes of SHA-256 and then what ``torch.save`` wrote: dicts, lists, text, numbers and
tensors, nothing that could run code. ``torch.load`` alone does not notice a flipped bit.
"""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradinc.crash import crash_point
from gradinc.files import storing, write_whole

BEST = "best"
PIECE = 1 << 20
"""Bytes that are looked at at a time."""

_NAME = re.compile(r"(0|[1-9][0-9]{0,17})(?:\+([1-9][0-9]{0,17}))?")


class Damaged(Exception):
    """A checkpoint that must not be used; its text says why."""


@dataclass(frozen=True, order=True)
class Mark:
    """Where a checkpoint was taken: after this many updates, and micro-batches of the next."""

    updates: int
    taken: int = 0

    def __str__(self) -> str:
        return f"{self.updates}+{self.taken}" if self.taken else f"{self.updates}"


def write(folder: Path, name: str, run: str, state: dict[str, Any]) -> None:
    """Write one checkpoint.

    Args:
        folder: the run's ``ckpt``.
        name: file name in it.
        run: identity of the run, so that a file from another run is not taken for one of this.
        state: dicts, lists, text, numbers and tensors.

    Raises:
        gradinc.errors.StorageError: it could not be written; those before it stay.
    """
    memory = io.BytesIO()  # torch.save to a full disk reports neither the path nor the errno
    torch.save({"run": run, **state}, memory)
    content = memory.getbuffer()
    write_whole(folder / name, hashlib.sha256(content).digest() + bytes(content))


def read(path: Path, run: str | None, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read one checkpoint, after checking it.

    Raises:
        Damaged: it is cut short, changed, of another run, or not a checkpoint.
    """
    content = _checked(path)
    try:
        _refuse_growth(content)
        state = torch.load(content, map_location=device, weights_only=True)
    except Exception as error:  # a whole file that holds something else; torch raises many kinds
        raise Damaged("not a checkpoint") from error
    if not isinstance(state, dict) or ("model" not in state and "learner" not in state):
        raise Damaged("not a checkpoint")
    if run is not None and state.get("run") != run:
        raise Damaged("of another run")
    return state


def _checked(path: Path) -> io.BytesIO:
    """What a file holds behind its digest, which was found to be right before any of it was kept in memory."""
    if not path.is_file():
        raise Damaged("not a file")
    try:
        with open(path, "rb") as file:
            digest = file.read(32)
            if len(digest) < 32 or not file.read(1):
                raise Damaged("cut short")
            file.seek(32)
            total = hashlib.sha256()
            while piece := file.read(PIECE):
                total.update(piece)
            if total.digest() != digest:
                raise Damaged("checksum")
            file.seek(32)
            return io.BytesIO(file.read())
    except OSError as error:
        raise Damaged(error.strerror or str(error)) from error


def _refuse_growth(content: io.BytesIO) -> None:
    """Refuse what would take more memory than the file has bytes: compressed parts, and torch's old format."""
    size = content.getbuffer().nbytes
    with zipfile.ZipFile(content) as archive:
        parts = archive.infolist()
    if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or sum(p.file_size for p in parts) > size:
        raise Damaged("not a checkpoint")
    content.seek(0)


def marks(folder: Path) -> list[Mark]:
    """The checkpoints there are, newest first, without those that only keep the best weights."""
    found = (_NAME.fullmatch(path.name) for path in folder.glob("*"))
    return sorted((Mark(int(m[1]), int(m[2] or 0)) for m in found if m), reverse=True)


def newest(
    folder: Path, run: str | None, device: torch.device | str = "cpu"
) -> Iterator[tuple[Mark, dict[str, Any] | Damaged]]:
    """The checkpoints, newest first, each with its state or with what is wrong with it."""
    for mark in marks(folder):
        try:
            state = read(folder / str(mark), run, device)
        except Damaged as damage:
            yield mark, damage
        else:
            yield mark, state if "learner" in state else Damaged("the best weights under another name")


def set_aside(folder: Path, mark: Mark) -> None:
    """Keep a damaged checkpoint under another name, where it is neither read again nor counted as one that is kept."""
    path = folder / str(mark)
    with storing(path):
        path.replace(path.with_name(f"{mark}.damaged"))


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest checkpoints."""
    for mark in marks(folder)[keep:]:
        with storing(folder / str(mark)):
            (folder / str(mark)).unlink(missing_ok=True)
        crash_point("pruned")


def digest(state: dict[str, Tensor]) -> str:
    """SHA-256 over sorted names, dtypes, shapes and bytes: equal weights, equal digest, wherever they are stored."""
    total = hashlib.sha256()
    for name, value in sorted(state.items()):
        tensor = value.detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return total.hexdigest()
