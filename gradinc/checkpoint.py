"""Checkpoints: whole or absent, checked before use, and the one before is kept.

A file is 32 bytes of SHA-256 and then what ``torch.save`` wrote: dicts, lists, text, numbers and
tensors, nothing that could run code. ``torch.load`` alone does not notice a flipped bit.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradinc.crash import crash_point
from gradinc.files import storing, write_whole

BEST = "best"
_NAME = re.compile(r"(\d+)(?:\+(\d+))?")


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
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Damaged(error.strerror or str(error)) from error
    if len(content) < 33:
        raise Damaged("cut short")
    if hashlib.sha256(memoryview(content)[32:]).digest() != content[:32]:
        raise Damaged("checksum")
    try:
        state = torch.load(io.BytesIO(memoryview(content)[32:]), map_location=device, weights_only=True)
    except Exception as error:  # a whole file that holds something else; torch raises many kinds
        raise Damaged("not a checkpoint") from error
    if not isinstance(state, dict) or ("model" not in state and "learner" not in state):
        raise Damaged("not a checkpoint")
    if run is not None and state.get("run") != run:
        raise Damaged("of another run")
    return state


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
            yield mark, read(folder / str(mark), run, device)
        except Damaged as damage:
            yield mark, damage


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
