"""Verification of a run: its files against its seal, and its last updates against a repetition."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradinc.base.errors import UserError
from gradinc.base.files import open_plain
from gradinc.base.signals import Interruption
from gradinc.config.identity import identity_digest
from gradinc.config.schema import Config
from gradinc.core.work import BEFORE_ROWS, Work
from gradinc.records.directory import read_config
from gradinc.records.lock import living_owner
from gradinc.records.schemas import read_json, read_meta, read_result
from gradinc.records.seal import SEAL, check_seal
from gradinc.runs import checkpoint
from gradinc.runs.checkpoint import Damaged, Mark
from gradinc.runs.display import Display
from gradinc.runs.fit import recorded
from gradinc.studies.rerun import Stretch, counts_in, rerun

_LONGEST = 60
"""Characters of a value that are shown."""


@dataclass
class Verdict:
    """The result of a verification.

    Attributes:
        run: the run's directory.
        first: position of the first checkpoint, 0 for the beginning: updates, and micro-batches of the next, if any.
        last: position of the checkpoint that was compared.
        differences: differences from the run, in words.
        unsealed: whether the run has ended without a seal to compare its files with.
        notes: harmless reasons that make a difference likely.
    """

    run: str
    first: str = "0"
    last: str = "0"
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unsealed: bool = False


def verify(path: Path, display: Display, stop: Interruption) -> Verdict:
    """Repeat a run from its newest checkpoint but one to the newest, elsewhere, and compare. The run is not changed.

    Raises:
        UserError: the run is in use, has no checkpoint yet, or its config or record cannot be read.
    """
    if (owner := living_owner(path)) is not None:
        raise UserError(str(path), f"is in use by {owner}", "Wait for it")
    config = read_config(path)
    meta = read_meta(path / "meta.json")
    if meta is None:
        fix = "Restore it, or run the experiment again with fresh=true"
        raise UserError(str(path / "meta.json"), "is missing or damaged", fix)
    verdict = Verdict(str(path))
    if identity_digest(config) != meta["identity"]:
        verdict.differences.append("config.yaml: is not the config that the run was started with")
        return verdict
    whole = []
    for mark, state in checkpoint.newest(path / "ckpt", meta["identity"]):
        if isinstance(state, Damaged):
            verdict.differences.append(f"ckpt/{mark} is damaged ({state})")
        else:
            whole.append((mark, state))
            with checkpoint.fitting(path / "ckpt" / str(mark)):
                if "work" not in state["learner"]:
                    raise ValueError(f"it {BEFORE_ROWS}")
                _check_log(path / "metrics.jsonl", mark, state, verdict)
        if len(whole) == 2:
            break
    _check_seal(path, verdict)
    if not whole:
        if not verdict.differences:
            raise UserError(str(path), "has no checkpoint yet", "Train it first, with the command in its meta.json")
        return verdict
    micro_batch = recorded(meta) if config.strategy.window.micro_batch == "auto" else None
    with checkpoint.fitting(path / "ckpt" / str(whole[0][0])):
        facts = _facts(whole[0][1], micro_batch or config.data.batch_size)
    if not any(line.startswith("metrics.jsonl") for line in verdict.differences):
        stretch = _last_stretch(path, config, meta, whole)
        verdict.first, verdict.last = str(stretch.first or Mark(0)), str(stretch.last)
        again = rerun(stretch, display, stop)
        verdict.differences += again.differences
        verdict.notes += again.notes
        facts |= again.result
    _check_result(path / "result.json", facts, verdict)
    return verdict


def _last_stretch(
    path: Path, config: Config, meta: dict[str, Any], whole: list[tuple[Mark, dict[str, Any]]]
) -> Stretch:
    """Return the updates from the newest checkpoint but one, or the beginning, to the newest one."""
    last, wanted = whole[0]
    if len(whole) == 1:
        return Stretch(path, config, meta, None, last, wanted)
    first, begun = whole[1]
    return Stretch(path, config, meta, first, last, wanted, _beginning(path / "metrics.jsonl", begun["log_offset"]))


def _check_log(log: Path, mark: Mark, state: dict[str, Any], verdict: Verdict) -> None:
    """Compare the log with its digest in a checkpoint."""
    content = _beginning(log, state["log_offset"])
    if len(content) < state["log_offset"]:
        verdict.differences.append(f"metrics.jsonl: has lost lines from before step {mark.updates}")
    elif hashlib.sha256(content).hexdigest() != state["log_digest"]:
        verdict.differences.append(f"metrics.jsonl: was changed before step {mark.updates}")


def _check_seal(path: Path, verdict: Verdict) -> None:
    """Compare the files of an ended run with its seal, without reporting a file twice."""
    result = read_result(path / "result.json") or {}
    verdict.unsealed = result.get("status") == "finished" and SEAL not in result
    for name, what in check_seal(result, path).items():
        if not any(line.startswith((f"{name}:", f"{name} ")) for line in verdict.differences):
            verdict.differences.append(f"{name}: {what}")


def _beginning(log: Path, length: int) -> bytes:
    """Return the first bytes of a log, fewer if it is shorter."""
    try:
        with open_plain(log) as file:
            return file.read(length)
    except OSError:
        return b""


def _facts(newest: dict[str, Any], batch_size: int) -> dict[str, Any]:
    """Return the facts about the result that a checkpoint alone gives."""
    last, work = (newest["position"]["tasks"] or [{}])[-1], Work()
    work.load_state_dict(newest["learner"]["work"])
    counts = {"steps": counts_in(newest)[0], "samples": work.samples, **work.record(batch_size)}
    weights = checkpoint.digest(checkpoint.measured(newest))
    return {"weights_digest": weights, **counts, "test": last.get("test"), "validation": last.get("validation")}


def _check_result(file: Path, facts: dict[str, Any], verdict: Verdict) -> None:
    """Compare ``result.json`` with its expected content."""
    if not file.exists():
        return
    result = read_result(file)
    if result is None:
        verdict.differences.append("result.json: is damaged")
        result = read_json(file) or {}  # to find the changed numbers
    if result.get("status") == "finished":
        for key, value in facts.items():
            was, now = (json.dumps(each) for each in (result.get(key), value))
            if was != now and (key in result or not verdict.notes):  # other code may have recorded other keys
                verdict.differences.append(f"result.json: {key} is {_short(was)}, should be {_short(now)}")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"
