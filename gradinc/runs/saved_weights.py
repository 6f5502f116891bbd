"""The weights in a run's directory, and its result: read, checked against its seal."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.base.text import printable
from gradinc.records.directory import find_run
from gradinc.records.schemas import read_meta, read_result
from gradinc.records.seal import SEAL, check_seal
from gradinc.runs import checkpoint

BEST_FILE = f"ckpt/{checkpoint.BEST}"
"""The checkpoint of the best validation, in a run's directory."""


def last_weights(run: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return the weights and buffers that evaluation uses at a run's newest whole checkpoint.

    For an unfinished run they can be of an earlier step; a line on standard error reports this, and also an ended
    run without a seal.

    Raises:
        UserError: there are none; or the run is finished, and they differ from the weights that it ended with.
    """
    path = find_run(run)
    tell_unsealed(path, read_ended(path))
    return newest_weights(path, device)


def newest_weights(path: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return `last_weights` of a run's directory, without a line about a missing seal."""
    result = read_ended(path)
    finished = result.get("status") == "finished"
    damaged: list[str] = []
    for mark, state in checkpoint.newest(path / "ckpt", read_identity(path), device):
        if isinstance(state, checkpoint.Damaged):
            damaged.append(f"{path / 'ckpt' / str(mark)} is damaged ({state})")
            continue
        weights = checkpoint.measured(state)
        if finished and result.get("weights_digest") not in (None, checkpoint.digest(weights)):
            what = f"has lost its last weights: {damaged[0]}" if damaged else "has lost its last weights"
            fix = f"Remove {path / 'result.json'} and run the run's command again: it resumes from step {mark.updates}"
            raise UserError(str(path), what, fix)
        for line in damaged:
            sys.stderr.write(printable(f"warning: {line}. These are the weights of step {mark.updates}.") + "\n")
        return weights
    what = f"has no checkpoint that is whole: {damaged[0]}" if damaged else "has no checkpoint"
    fix = "Give its command again, with fresh=true" if finished else "Train it first, with the command in its meta.json"
    raise UserError(str(path), what, fix)


def best_weights(run: str | os.PathLike[str], device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Return the weights and buffers of a run's best validation.

    Raises:
        UserError: it never validated, or the file is damaged or missing.
    """
    path = find_run(run)
    wrong = check_seal(read_ended(path), path)
    file = path / BEST_FILE
    fix = "Use its last weights, or run it again with fresh=true"
    if not file.exists() and BEST_FILE in wrong:
        raise UserError(str(file), wrong[BEST_FILE], fix)
    if not file.exists():
        raise UserError(str(path), "has no best checkpoint, since it has no validation rows", "Use its last weights")
    try:
        state = checkpoint.read(file, read_identity(path), device)
        if "model" not in state:
            raise checkpoint.Damaged("a checkpoint under another name")
        if BEST_FILE in wrong:
            raise checkpoint.Damaged(f"it {wrong[BEST_FILE]}")
    except checkpoint.Damaged as damage:
        raise UserError(str(file), f"is damaged ({damage})", fix) from damage
    weights: dict[str, Tensor] = state["model"]
    return weights


def read_ended(path: Path) -> dict[str, Any]:
    """Return ``result.json`` of a run, empty if missing. Readers of checkpoints check their part of the seal.

    Raises:
        UserError: it is damaged, or the log, config or record of an ended run differs from the one that it ended with.
    """
    file = path / "result.json"
    result = read_result(file)
    if result is None:
        if os.path.lexists(file):
            raise UserError(str(file), "is damaged", "Give the run's own command again, which writes it")
        return {}
    for name, what in check_seal(result, path).items():
        if not name.startswith("ckpt/"):
            raise UserError(str(path / name), what, "Restore it, or run the experiment again with fresh=true")
    return result


def tell_unsealed(path: Path, result: dict[str, Any]) -> None:
    """Report a finished run without a seal, on standard error."""
    if result.get("status") == "finished" and SEAL not in result:
        line = f"warning: {path} unsealed (ended before gradinc sealed runs; damage may go unnoticed)."
        sys.stderr.write(printable(line) + "\n")


def read_identity(path: Path) -> str | None:
    """Return the identity that the checkpoints of a run directory must have."""
    return (read_meta(path / "meta.json") or {}).get("identity")
