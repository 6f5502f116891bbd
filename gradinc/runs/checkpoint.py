"""Checkpoints: complete or absent, checked before use, with the previous one preserved.

A file consists of 32 bytes of SHA-256 and the output of ``torch.save``: dicts, lists, text, numbers and
tensors, nothing that could run code. ``torch.load`` alone does not detect a flipped bit, or a file that
declares more data than it contains. So `gradinc.runs.torch_file` reads the files.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradinc.base.crash import crash_point
from gradinc.base.errors import UserError
from gradinc.base.files import open_plain, storing, write_whole
from gradinc.runs.torch_file import Refused, load_file, plain

BEST = "best"
_PIECE = 1 << 20
"""Bytes that are read at a time."""

_NAME = re.compile(r"(0|[1-9][0-9]{0,17})(?:\+([1-9][0-9]{0,17}))?")


class Damaged(Exception):
    """A checkpoint that must not be used; the text gives the reason."""


@dataclass(frozen=True, order=True)
class Mark:
    """The position of a checkpoint: the number of updates, and of micro-batches of the next update."""

    updates: int
    taken: int = 0

    def __str__(self) -> str:
        return f"{self.updates}+{self.taken}" if self.taken else f"{self.updates}"


def write(folder: Path, name: str, run: str, state: dict[str, Any]) -> None:
    """Write one checkpoint.

    Args:
        folder: the run's ``ckpt``.
        name: file name in it.
        run: identity of the run, so that another run's file is refused.
        state: dicts, lists, text, numbers and tensors.

    Raises:
        gradinc.base.errors.StorageError: it could not be written; earlier checkpoints stay.
        gradinc.runs.torch_file.Refused: the state contains a value that could not be read again.
    """
    memory = io.BytesIO()  # torch.save to a full disk reports neither the path nor the errno
    torch.save({"run": run, **{key: plain(value, key) for key, value in state.items()}}, memory)
    content = memory.getbuffer()
    write_whole(folder / name, hashlib.sha256(content).digest() + bytes(content))


def read(path: Path, run: str | None, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Read one checkpoint, after checking it.

    Raises:
        Damaged: the file is truncated, changed, of another run, or not a checkpoint.
    """
    content = _checked(path)
    try:
        state = load_file(content, device)
    except Refused as error:
        raise Damaged(f"not a checkpoint: {error}") from error
    except Exception as error:  # an undamaged file with other content raises errors of many types
        raise Damaged("not a checkpoint") from error
    if not isinstance(state, dict) or not _is_weights(state.get("model", state.get("learner"))):
        raise Damaged("not a checkpoint")
    if not _is_weights(state.get("measured", {})):
        raise Damaged("not a checkpoint")
    if run is not None and state.get("run") != run:
        raise Damaged("of another run")
    return state


def measured(state: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights and buffers that evaluation uses at a checkpoint of a run (`Learner.measured`)."""
    weights: dict[str, Tensor] = state.get("measured", state["learner"]["model"])
    return weights


def _is_weights(found: Any) -> bool:
    """Return whether a checkpoint's weights, or its learner, are weights by name."""
    weights = found.get("model", found) if isinstance(found, dict) else None
    return isinstance(weights, dict) and all(isinstance(tensor, Tensor) for tensor in weights.values())


@contextmanager
def fitting(path: Path) -> Iterator[None]:
    """Refuse an undamaged checkpoint whose state does not fit this program: another version wrote it. Keep the file.

    Raises:
        UserError: the state does not fit. The object that was loading it may have loaded half of it.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError) as error:
        said = " ".join(str(error).split())[:100]
        what = f"does not fit this version of gradinc ({type(error).__name__}: {said})"
        fix = "Resume with the version that began the run, or use fresh=true to start again"
        raise UserError(str(path), what, fix) from error


def _checked(path: Path) -> io.BytesIO:
    """Return the content of a file after its digest, which is checked before the content is read into memory."""
    try:
        with open_plain(path) as file:
            digest = file.read(32)
            if len(digest) < 32 or not file.read(1):
                raise Damaged("cut short")
            file.seek(32)
            total = hashlib.sha256()
            while piece := file.read(_PIECE):
                total.update(piece)
            if total.digest() != digest:
                raise Damaged("checksum")
            file.seek(32)
            return io.BytesIO(file.read())
    except OSError as error:
        raise Damaged(error.strerror or str(error)) from error


def marks(folder: Path) -> list[Mark]:
    """Return the checkpoints, newest first, without checkpoints that only store the best weights."""
    found = (_NAME.fullmatch(path.name) for path in folder.glob("*"))
    return sorted((Mark(int(m[1]), int(m[2] or 0)) for m in found if m), reverse=True)


def newest(
    folder: Path, run: str | None, device: torch.device | str = "cpu"
) -> Iterator[tuple[Mark, dict[str, Any] | Damaged]]:
    """Yield the checkpoints, newest first, each with its state or with the reason why it is damaged."""
    for mark in marks(folder):
        try:
            state = read(folder / str(mark), run, device)
        except Damaged as damage:
            yield mark, damage
        else:
            yield mark, state if "learner" in state else Damaged("the best weights under another name")


def set_aside(folder: Path, mark: Mark) -> None:
    """Rename a damaged checkpoint, so that it is not read or counted again."""
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
    """Return the SHA-256 over sorted names, dtypes, shapes and bytes: equal weights, equal digest, on any device."""
    total = hashlib.sha256()
    for name, value in sorted(state.items()):
        tensor = value.detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data if tensor.numel() else b"")
    return total.hexdigest()
