"""Running the last stretch of a run again, in another place, and comparing it with what the run has saved."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gradinc.base.errors import Diverged, UserError
from gradinc.base.files import open_plain
from gradinc.base.signals import Interruption
from gradinc.config.code import segment_digests
from gradinc.config.identity import identity_digest
from gradinc.config.schema import Config, validate
from gradinc.core.work import BEFORE_ROWS, Work
from gradinc.records.directory import RunDirectory, read_config
from gradinc.records.environment import changes
from gradinc.records.lock import living_owner
from gradinc.records.schemas import read_json, read_meta, read_result
from gradinc.records.seal import SEAL, check_seal
from gradinc.runs import checkpoint
from gradinc.runs import device as devices
from gradinc.runs.checkpoint import Damaged, Mark
from gradinc.runs.comparison import CLOCK, SHOWN, state_differences
from gradinc.runs.display import Display
from gradinc.runs.fit import recorded
from gradinc.runs.prepare import prepare
from gradinc.runs.run import Run
from gradinc.runs.train import WATCHING

_LONGEST = 60
"""Letters of a value that are shown."""


@dataclass
class Verdict:
    """What came of it.

    Attributes:
        run: the run's directory.
        first: checkpoint that was gone on from, 0 for the beginning: updates, and micro-batches of the next if any.
        last: checkpoint that was compared.
        differences: what is not as the run has it, in words.
        unsealed: whether the run has ended and has no seal that its files could be compared with.
        notes: what makes a difference likely that is nobody's fault.
    """

    run: str
    first: str = "0"
    last: str = "0"
    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unsealed: bool = False


class ReplayDisplay(Display):
    """Progress of a replay, whose clock stands still: it has no speed."""

    def numbers(self, share: float, **numbers: str) -> None:
        numbers.pop("speed", None)
        super().numbers(share, **numbers)


class Reached(Exception):
    """The replay is where the checkpoint was taken, or past it."""


class Replay(Run):
    """A run that commits nothing and stops where a checkpoint was taken.

    Attributes:
        wanted: the state in that checkpoint.
        state: the replay's own state there, once it is reached.
    """

    wanted: dict[str, Any]
    state: dict[str, Any] | None = None

    def commit(self) -> None:
        """Stop here if this is the place; nothing is written."""
        updates, samples = _counts(self.wanted)
        here = (_place(asdict(self.position)), self.learner.updates, self.learner.work.samples)
        if here == (_place(self.wanted["position"]), updates, samples):
            self.state = {
                "run": self.wanted["run"],
                "learner": self.learner.state_dict(),
                "position": asdict(self.position),
                "log_offset": self._metrics.offset,
                "log_digest": self._metrics.digest,
            }
            raise Reached
        if self.learner.work.samples > samples:
            raise Reached
        self._next_commit = 0.0

    @property
    def seconds(self) -> float:
        """The clock stands still, so that ``budget.seconds`` ends nothing but what it has ended."""
        return self._clock_base

    def _reached(self) -> str | None:
        position, there = self.position, self.wanted["position"]
        done = there["tasks"][position.task] if position.task < there["task"] else {}
        here = (position.epoch, self.learner.work.samples)
        if done.get("ended_by") == "seconds" and here == (done["epochs"], _counts(self.wanted)[1]):
            return "seconds"
        return super()._reached()

    def _measure(self, *arguments: Any, **options: Any) -> dict[str, float]:
        self.commit()  # a run that was stopped while it measured has saved what was before
        return super()._measure(*arguments, **options)


def verify(path: Path, display: Display, stop: Interruption) -> Verdict:
    """Go on from a run's newest checkpoint but one to the newest one, elsewhere, and compare. The run is not touched.

    Raises:
        UserError: the run is in use, has no checkpoint yet, or its config or record cannot be read.
    """
    if (owner := living_owner(path)) is not None:
        raise UserError(str(path), f"is in use by {owner}", "Wait for it")
    config = read_config(path)
    meta = read_meta(path / "meta.json")
    if meta is None:
        mend = "Bring it back, or run the experiment again with fresh=true"
        raise UserError(str(path / "meta.json"), "is missing or damaged", mend)
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
        facts |= _replay(path, config, meta, whole, verdict, display, stop)
    _check_result(path / "result.json", facts, verdict)
    return verdict


def _check_log(log: Path, mark: Mark, state: dict[str, Any], verdict: Verdict) -> None:
    """Compare the log with the digest that a checkpoint has of it."""
    content = _beginning(log, state["log_offset"])
    if len(content) < state["log_offset"]:
        verdict.differences.append(f"metrics.jsonl: has lost lines from before step {mark.updates}")
    elif hashlib.sha256(content).hexdigest() != state["log_digest"]:
        verdict.differences.append(f"metrics.jsonl: was changed before step {mark.updates}")


def _check_seal(path: Path, verdict: Verdict) -> None:
    """Compare the files of a run that has ended with its seal; what is told of a file already is not told twice."""
    result = read_result(path / "result.json") or {}
    verdict.unsealed = result.get("status") == "finished" and SEAL not in result
    for name, what in check_seal(result, path).items():
        if not any(line.startswith((f"{name}:", f"{name} ")) for line in verdict.differences):
            verdict.differences.append(f"{name}: {what}")


def _beginning(log: Path, length: int) -> bytes:
    """So many bytes of a log, fewer where it is shorter."""
    try:
        with open_plain(log) as file:
            return file.read(length)
    except OSError:
        return b""


def _facts(newest: dict[str, Any], batch_size: int) -> dict[str, Any]:
    """What a checkpoint alone says about the result."""
    last, work = (newest["position"]["tasks"] or [{}])[-1], Work()
    work.load_state_dict(newest["learner"]["work"])
    counts = {"steps": _counts(newest)[0], "samples": work.samples, **work.record(batch_size)}
    weights = checkpoint.digest(newest["learner"]["model"])
    return {"weights_digest": weights, **counts, "test": last.get("test"), "validation": last.get("validation")}


def _check_result(file: Path, facts: dict[str, Any], verdict: Verdict) -> None:
    """Compare ``result.json`` with what should be in it."""
    if not file.exists():
        return
    result = read_result(file)
    if result is None:
        verdict.differences.append("result.json: is damaged")
        result = read_json(file) or {}  # which of its numbers it is
    if result.get("status") == "finished":
        for key, value in facts.items():
            was, now = (json.dumps(each) for each in (result.get(key), value))
            if was != now and (key in result or not verdict.notes):  # other code may have had another list of keys
                verdict.differences.append(f"result.json: {key} is {_short(was)}, should be {_short(now)}")


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "…"


def _replay(
    path: Path,
    config: Config,
    meta: dict[str, Any],
    whole: list[tuple[Mark, dict[str, Any]]],
    verdict: Verdict,
    display: Display,
    stop: Interruption,
) -> dict[str, Any]:
    """Go on from the older checkpoint to the newer one.

    Returns:
        The result that a run which is at its end there has; empty where the replay is not the same, or not at its end.
    """
    (last, wanted), (first, begun) = whole[0], (whole[1] if len(whole) == 2 else (Mark(0), None))
    verdict.first, verdict.last = str(first), str(last)
    before = [segment for segment in meta["segments"] if Mark(segment.get("from_step", 0)) < last]
    segment = (before or meta["segments"])[-1]
    with tempfile.TemporaryDirectory(prefix="gradinc-verify-") as scratch:
        watching = {key: segment[key] for key in WATCHING if key in segment}
        place = {"output": scratch, "name": path.name, "fresh": False, "progress": config.progress}
        often = {**config.document["checkpoint"], "seconds": 0}
        again = validate({**config.document, **watching, **place, "checkpoint": often})
        directory = RunDirectory(again)
        parts = prepare(again, recorded(meta))
        if parts.stream.digest != meta["data"]["digest"]:
            verdict.differences.append("data: are not those that the run was started with")
            return {}
        devices.pin(segment["threads"], parts.device)
        here = {**devices.environment(parts.device, segment["threads"]), **segment_digests(config.document)}
        verdict.notes += [f"{name} was {before}, here {now}" for name, before, now in changes(segment, here)]
        (directory.path / "ckpt").mkdir(parents=True)
        if begun is not None:
            shutil.copyfile(path / "ckpt" / str(first), directory.path / "ckpt" / str(first))
            log = _beginning(path / "metrics.jsonl", begun["log_offset"])
            (directory.path / "metrics.jsonl").write_bytes(log)
        replay = Replay(parts.config, directory, parts.dataset, parts.stream, parts.learner, display, stop)
        replay.wanted = wanted
        replay.resume()
        stop.deferred = True
        try:
            replay.train()
        except Reached:
            pass
        except Diverged as diverged:
            verdict.differences.append(f"the replay diverged at step {diverged.step}: {diverged.tensor} is not finite")
            return {}
        finally:
            replay.close()
        if replay.state is None:
            verdict.differences.append(f"the replay never came to where step {last.updates} was saved")
            return {}
        found = state_differences(wanted, replay.state)
        more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
        verdict.differences += [*found[:SHOWN], *more]
        if found or replay.position.task < len(parts.stream):
            return {}
        clocks_aside = {key: value for key, value in replay.result().items() if key not in CLOCK}
        return {**clocks_aside, **({"search": meta["search"]} if "search" in meta else {})}


def _counts(state: dict[str, Any]) -> tuple[int, int]:
    """Updates and samples of a checkpoint."""
    return state["learner"]["place"][-1], state["learner"]["work"]["samples"]


def _place(position: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(position.get(key) for key in ("task", "epoch", "batch", "stage"))
