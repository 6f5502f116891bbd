"""Saves a run: its checkpoints, and the weights of its best validation."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Protocol

from gradinc.base.files import storing
from gradinc.config.schema import CheckpointSection
from gradinc.core.learner import Learner
from gradinc.records.log import Log, NoLog
from gradinc.runs import checkpoint
from gradinc.runs.clock import RunClock
from gradinc.runs.display import Display
from gradinc.runs.position import Position
from gradinc.runs.restore import Restored


class Saving(Protocol):
    """The interface for saving a run, called by the loop."""

    def offer(self, position: Position) -> None:
        """Save the run here, if it is time to save."""

    def commit(self, position: Position) -> None:
        """The run must be saved here."""

    def keep_best(self, position: Position) -> None:
        """The current weights are the best of the task."""


class Saver:
    """Saves a run in its directory; of several processes only the first one writes.

    Args:
        folder: the run's ``ckpt``.
        identity: identity of the run.
        metrics: the log whose length is saved.
        options: the ``checkpoint`` section of the config.
    """

    def __init__(
        self,
        folder: Path,
        identity: str,
        learner: Learner,
        metrics: Log | NoLog,
        clock: RunClock,
        options: CheckpointSection,
    ) -> None:
        self._folder, self._identity, self._learner = folder, identity, learner
        self._metrics, self._clock, self._options = metrics, clock, options
        self._leads = learner.place.world.leads
        self._next = time.monotonic() + options.seconds

    def offer(self, position: Position) -> None:
        """Save the run if ``checkpoint.seconds`` have passed."""
        if time.monotonic() >= self._next:
            self.commit(position)

    def commit(self, position: Position) -> None:
        """Save everything that a restart needs.

        Raises:
            Diverged: a weight is not finite.
            StorageError: the checkpoint could not be written.
        """
        self._learner.finite.weights()
        if self._leads:
            self._metrics.sync()
            mark = checkpoint.Mark(self._learner.updates, self._learner.window.taken)
            state = saved_state(self._learner, position, self._metrics)
            checkpoint.write(self._folder, str(mark), self._identity, {**state, "seconds": self._clock.seconds})
            checkpoint.prune(self._folder, self._options.keep)
        self._next = time.monotonic() + self._options.seconds

    def keep_best(self, position: Position) -> None:
        """Save the weights that evaluation uses now as the run's best."""
        if self._leads:
            with self._learner.evaluating():
                state = {"model": self._learner.model.state_dict(), "step": self._learner.updates}
                state["validation"] = position.validation
                checkpoint.write(self._folder, checkpoint.BEST, self._identity, state)


def saved_state(learner: Learner, position: Position, metrics: Log | NoLog) -> dict[str, Any]:
    """Return the state for a checkpoint, without the clock; weights that evaluation uses are stored if they differ."""
    measured = learner.measured()
    return {
        "learner": learner.state_dict(),
        **({} if measured is None else {"measured": measured}),
        "position": position.state_dict(),
        "log_offset": metrics.offset,
        "log_digest": metrics.digest,
    }


def tidy(folder: Path, restored: Restored, display: Display) -> None:
    """Prepare a run's ``ckpt`` for a start: rename damaged checkpoints, and remove unfinished files.

    Raises:
        StorageError: a file could not be changed.
    """
    for mark, damage in restored.damaged:
        display.warn(f"{folder / str(mark)} is damaged ({damage}). Resuming from step {restored.step or 0}.")
        checkpoint.set_aside(folder, mark)
    with storing(folder):
        folder.mkdir(exist_ok=True)
        for path in folder.glob(".*.tmp"):
            path.unlink()
        if restored.step is None:
            (folder / checkpoint.BEST).unlink(missing_ok=True)


def last_checkpoints(run: Path) -> list[str]:
    """Return the names of a run's final checkpoints in its directory: the newest and the best."""
    folder = run / "ckpt"
    names = [str(mark) for mark in checkpoint.marks(folder)[:1]]
    names += [checkpoint.BEST] if (folder / checkpoint.BEST).exists() else []
    return [f"{folder.name}/{name}" for name in names]
