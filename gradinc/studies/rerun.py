"""Repeated training of a part of a run, from one checkpoint to the next, in a scratch directory."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gradinc.base.errors import Diverged
from gradinc.base.signals import Interruption
from gradinc.config.code import segment_digests
from gradinc.config.schema import Config
from gradinc.config.validation import validate
from gradinc.core.learner import Learner
from gradinc.records.directory import RunDirectory
from gradinc.records.environment import changes
from gradinc.records.log import Log, NoLog
from gradinc.runs import device as devices
from gradinc.runs.checkpoint import Mark
from gradinc.runs.clock import RunClock
from gradinc.runs.comparison import CLOCK, SHOWN, state_differences
from gradinc.runs.display import Display
from gradinc.runs.fit import recorded
from gradinc.runs.position import Position
from gradinc.runs.prepare import Prepared, prepare
from gradinc.runs.reporting import Logs
from gradinc.runs.restore import restore
from gradinc.runs.run import Run
from gradinc.runs.saving import saved_state
from gradinc.runs.segment import WATCHING
from gradinc.runs.spending import Spending

State = dict[str, Any]


@dataclass(frozen=True)
class Stretch:
    """The part of a run to train again.

    Attributes:
        run: the run's directory.
        meta: its ``meta.json``.
        first: the checkpoint to begin from, None for the beginning of the run.
        last: the checkpoint to end at.
        wanted: the expected state: the content of `last`.
        log: the beginning of ``metrics.jsonl`` that belongs to `first`.
    """

    run: Path
    config: Config
    meta: dict[str, Any]
    first: Mark | None
    last: Mark
    wanted: State
    log: bytes = b""


@dataclass
class Rerun:
    """The outcome of a repetition.

    Attributes:
        differences: from the run's checkpoint, in words.
        notes: differences of software or hardware, which can explain the differences in state.
        result: ``result.json`` of a run that ends here, without its clocks; empty if something differs or the run
            does not end here.
    """

    differences: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    result: dict[str, Any] = field(default_factory=dict)


class Reached(Exception):
    """The rerun has reached the place of the checkpoint."""


class Finder:
    """A replacement of a run's saver: it writes nothing, and stops the run at the place of a checkpoint.

    Attributes:
        found: the state of the rerun at that place, None until it is reached.
    """

    def __init__(self, wanted: State, learner: Learner, metrics: Log | NoLog) -> None:
        self._wanted, self._learner, self._metrics = wanted, learner, metrics
        self.found: State | None = None

    def offer(self, position: Position) -> None:
        """Stop the run if it has reached the place."""
        place = Position(**self._wanted["position"])
        updates, samples = counts_in(self._wanted)
        learner = self._learner
        if (_place(position), learner.updates, learner.work.samples) == (_place(place), updates, samples):
            self.found = {"run": self._wanted["run"], **saved_state(learner, position, self._metrics)}
            raise Reached
        if learner.work.samples > samples:
            raise Reached

    def commit(self, position: Position) -> None:
        self.offer(position)

    def keep_best(self, position: Position) -> None:
        """Write nothing."""


class RecordedLimits(Spending):
    """The limits of a rerun without a clock: ``budget.seconds`` ends a task at the same place as in the run."""

    def __init__(self, parts: Prepared, clock: RunClock, wanted: State) -> None:
        super().__init__(parts.config, parts.stream, parts.learner, clock)
        self._learned, self._there = parts.learner.work, Position(**wanted["position"])
        self._samples = counts_in(wanted)[1]

    def reached(self, position: Position) -> str | None:
        """Return the limit that ends the task before its next window, or None."""
        there = self._there
        done = there.tasks[-1] if position.task == there.task - 1 else {}
        here = (position.epoch, self._learned.samples)
        if done.get("ended_by") == "seconds" and here == (done["epochs"], self._samples):
            return "seconds"
        return super().reached(position)


def rerun(stretch: Stretch, display: Display, stop: Interruption) -> Rerun:
    """Train a part of a run again, and compare its end with the run's checkpoint. The run is not changed."""
    meta, document = stretch.meta, stretch.config.document
    before = [segment for segment in meta["segments"] if Mark(segment.get("from_step", 0)) < stretch.last]
    segment = (before or meta["segments"])[-1]
    outcome = Rerun()
    with tempfile.TemporaryDirectory(prefix="gradinc-verify-") as scratch:
        watching = {key: segment[key] for key in WATCHING if key in segment}
        place = {"output": scratch, "name": stretch.run.name, "fresh": False}
        directory = RunDirectory(validate({**document, **watching, **place}))
        parts = prepare(directory.config, recorded(meta))
        if parts.stream.digest != meta["data"]["digest"]:
            outcome.differences.append("data: are not the data that the run was started with")
            return outcome
        devices.pin(segment["threads"], parts.device)
        here = {**devices.environment(parts.device, segment["threads"]), **segment_digests(document)}
        outcome.notes = [f"{name} was {before}, here {now}" for name, before, now in changes(segment, here)]
        (directory.path / "ckpt").mkdir(parents=True)
        if stretch.first is not None:
            checkpoint = Path("ckpt", str(stretch.first))
            shutil.copyfile(stretch.run / checkpoint, directory.path / checkpoint)
            (directory.path / "metrics.jsonl").write_bytes(stretch.log)
        _train(stretch, directory, parts, outcome, display, stop)
    return outcome


def _train(
    stretch: Stretch, directory: RunDirectory, parts: Prepared, outcome: Rerun, display: Display, stop: Interruption
) -> None:
    restored = restore(directory, parts.learner, len(parts.stream))
    logs = Logs.open(directory.path, restored)
    finder = Finder(stretch.wanted, parts.learner, logs.metrics)
    standing = RunClock(restored.seconds, now=lambda: 0.0)
    spending = RecordedLimits(parts, standing, stretch.wanted)
    clock = RunClock(restored.seconds)
    run = Run(parts, restored, logs=logs, clock=clock, saver=finder, spending=spending, display=display, stop=stop)
    stop.deferred = True
    try:
        run.train()
    except Reached:
        pass
    except Diverged as diverged:
        what = f"the rerun diverged at step {diverged.step}: {diverged.tensor} is not finite"
        outcome.differences.append(what)
        return
    finally:
        run.close()
    if finder.found is None:
        outcome.differences.append(f"the rerun never reached the place where step {stretch.last.updates} was saved")
        return
    found = state_differences(stretch.wanted, finder.found)
    more = [f"and {len(found) - SHOWN} more"] if len(found) > SHOWN else []
    outcome.differences += [*found[:SHOWN], *more]
    if not found and run.position.task == len(parts.stream):
        outcome.result = {key: value for key, value in run.result().items() if key not in CLOCK}
        if "search" in stretch.meta:
            outcome.result["search"] = stretch.meta["search"]


def counts_in(state: State) -> tuple[int, int]:
    """Return the numbers of updates and samples of a checkpoint."""
    return state["learner"]["place"][-1], state["learner"]["work"]["samples"]


def _place(position: Position) -> tuple[Any, ...]:
    return position.task, position.epoch, position.batch, position.stage
