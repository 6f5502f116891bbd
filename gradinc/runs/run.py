"""An open run, ready to train."""

from __future__ import annotations

from typing import Any

from gradinc.base.signals import Interruption
from gradinc.records.directory import RunDirectory
from gradinc.records.log import NoLog
from gradinc.runs import result
from gradinc.runs.clock import RunClock
from gradinc.runs.display import Display
from gradinc.runs.loop import Loop
from gradinc.runs.measuring import Measurer
from gradinc.runs.position import Position
from gradinc.runs.prepare import Prepared
from gradinc.runs.reporting import Logs, Reporter
from gradinc.runs.restore import Restored, restore, restore_beside
from gradinc.runs.saving import Saver, Saving, tidy
from gradinc.runs.spending import Spending


class Run:
    """Stream, learner, position and records of one run.

    Args:
        parts: the parts of its config.
        restored: the position from which it continues; the learner already has this state.
        logs: its logs, for the first of its processes.
        clock: its training time.
        saver: saves its checkpoints.
        spending: the used share of its limits.
    """

    def __init__(
        self,
        parts: Prepared,
        restored: Restored,
        *,
        logs: Logs,
        clock: RunClock,
        saver: Saving,
        spending: Spending,
        display: Display,
        stop: Interruption,
    ) -> None:
        self.config, self.stream, self.learner = parts.config, parts.stream, parts.learner
        self.restored, self._logs, self._clock = restored, logs, clock
        reporter = Reporter(
            self.config, self.stream, self.learner, logs=logs, display=display, clock=clock, spending=spending
        )
        check = stop.check if self.learner.place.world.alone else _go_on
        self._loop = Loop(
            parts,
            restored.position,
            spending=spending,
            measurer=Measurer(self.learner, self.stream, self.config.evaluate, reporter, check),
            reporter=reporter,
            saver=saver,
            stop=stop,
        )

    @property
    def position(self) -> Position:
        """Return the position of the run."""
        return self._loop.position

    def train(self) -> None:
        """Train to the end (`Loop.train`)."""
        self._loop.train()

    def result(self) -> dict[str, Any]:
        """Return the part of ``result.json`` that follows from the training, after the last task."""
        return result.finished(self.config, self.stream, self.learner, self.position, self._clock.seconds)

    def stopped(self, status: str, **reason: Any) -> dict[str, Any]:
        """Return ``result.json`` of a run that stopped before its end (`result.stopped`)."""
        return result.stopped(status, self.config, self.learner, self.position, self._clock.seconds, **reason)

    def close(self) -> None:
        self._logs.close()


def open_run(parts: Prepared, directory: RunDirectory, display: Display, stop: Interruption) -> Run:
    """Open a run at its newest undamaged checkpoint, in the process that writes.

    Raises:
        UserError: the log does not belong to this checkpoint, or another version wrote the checkpoint.
        StorageError: a file could not be written.
    """
    restored = restore(directory, parts.learner, len(parts.stream))
    logs = Logs.open(directory.path, restored)
    tidy(directory.path / "ckpt", restored, display)
    return _joined(parts, restored, logs, directory, display, stop)


def open_beside(
    step: int | None, parts: Prepared, directory: RunDirectory, display: Display, stop: Interruption
) -> Run:
    """Open the same run in a process that writes nothing.

    Args:
        step: `Restored.step` of the process that writes.
    """
    restored = restore_beside(step, directory, parts.learner, len(parts.stream))
    return _joined(parts, restored, Logs(NoLog(), NoLog()), directory, display, stop)


def _joined(
    parts: Prepared, restored: Restored, logs: Logs, directory: RunDirectory, display: Display, stop: Interruption
) -> Run:
    clock = RunClock(restored.seconds)
    saver = Saver(
        directory.path / "ckpt", directory.identity, parts.learner, logs.metrics, clock, parts.config.checkpoint
    )
    spending = Spending(parts.config, parts.stream, parts.learner, clock)
    return Run(parts, restored, logs=logs, clock=clock, saver=saver, spending=spending, display=display, stop=stop)


def _go_on() -> None:
    """Do nothing: processes that evaluate together stop only together, at the end of a window."""
