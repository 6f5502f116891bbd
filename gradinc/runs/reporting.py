"""Reports on a run during training: the lines of its logs, and the displayed numbers."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.core.plasticity import PROBED_ROWS, plasticity
from gradinc.data.stream import Stream
from gradinc.data.task import Task
from gradinc.records.log import Log, NoLog, whole_lines
from gradinc.records.matrix import MatrixRow, cells
from gradinc.records.summary import score_shown
from gradinc.runs.clock import RunClock
from gradinc.runs.display import Display
from gradinc.runs.position import Position
from gradinc.runs.restore import Restored
from gradinc.runs.result import counts
from gradinc.runs.spending import Spending
from gradinc.runs.warnings import known_task_hurts, small_memories, used_before_training, while_training

SHOWN_EVERY = 0.5
"""Seconds between two updates of the numbers that are shown."""


class Logs:
    """``metrics.jsonl``, which depends on the training alone, and ``timing.jsonl``, which depends on the machine."""

    def __init__(self, metrics: Log | NoLog, timing: Log | NoLog) -> None:
        self.metrics, self.timing = metrics, timing

    @classmethod
    def open(cls, run: Path, restored: Restored) -> Logs:
        """Open the logs of a run, cut back to the checkpoint that it resumes from.

        Raises:
            UserError: the log does not belong to this checkpoint.
            StorageError: a file could not be written.
        """
        metrics = Log(run / "metrics.jsonl", restored.log_offset, restored.log_digest)
        timing = run / "timing.jsonl"
        return cls(metrics, Log(timing, whole_lines(timing) if restored.step is not None else 0))

    def close(self) -> None:
        self.metrics.close()
        self.timing.close()


class Reporter:
    """Reports on one run; see `Display` for where the numbers are shown."""

    def __init__(
        self,
        config: Config,
        stream: Stream,
        learner: Learner,
        *,
        logs: Logs,
        display: Display,
        clock: RunClock,
        spending: Spending,
    ) -> None:
        self._config, self._stream, self._learner = config, stream, learner
        self._logs, self._display, self._clock, self._spending = logs, display, clock, spending
        self._last_line = (clock.seconds, self._taken)
        self._watched: tuple[int, float, set[str]] = (-1, 0.0, set())
        self._next_shown = 0.0
        self._probe: Tensor | None = None  # inputs of the task, for diagnostics

    # ---- training ----

    def task(self, task: Task, position: Position) -> None:
        """The training on a task begins or resumes."""
        if self._config.diagnostics:
            count = min(len(task.train), PROBED_ROWS)
            self._probe, _ = next(task.train.batches(torch.arange(count), count))
        if task.index == 0 and position.is_new_task:
            for line in small_memories(self._learner.named, self._stream.setting, self._config.data.batch_size):
                self._display.warn(line)
        if (limit := self._spending.used_before_training(position)) is not None:
            self._display.warn(used_before_training(task.index, limit))
        tasks = len(self._stream)
        title = f"task {task.index + 1} of {tasks}" if tasks > 1 else "training"
        self._display.begin(title, self._spending.share(position))

    def updated(self, position: Position) -> None:
        """An update was made: after every ``log.steps`` updates a line is logged."""
        if self._learner.place.updates % self._config.log.steps == 0:
            self.training(position)

    def training(self, position: Position) -> None:
        """Log the training since the last line of the log, if any."""
        values = self._learner.drain()
        loss = values.pop("loss")
        if loss is None:
            return
        if self._probe is not None:
            values["notes"] = {**values.get("notes", {}), **plasticity(self._learner.passes, self._probe)}
        if "online" in values:
            total, rows = values["online"]
            values["online"] = {self._learner.criterion.online: total / rows}
            position.predicted = [position.predicted[0] + total, position.predicted[1] + rows]
        self._log(position, lr=self._learner.lr, train={"loss": loss}, **values)
        self._watch(position, loss, values.get("notes", {}))
        seconds, (samples, tokens) = self._clock.seconds, self._speeds()
        self._last_line = (seconds, self._taken)
        self._logs.timing.write(
            {
                "step": self._learner.updates,
                "seconds": round(seconds, 3),
                "samples_per_second": round(samples, 1),
                **({"tokens_per_second": round(tokens, 1)} if self._learner.work.tokens else {}),
                "clock": round(time.time(), 1),
            }
        )
        self._display.numbers(self._spending.share(position), loss=f"{loss:.4f}", speed=self._shown(samples, tokens))

    def progress(self, position: Position) -> None:
        """Show the progress of training at intervals, also between two lines of the log."""
        now = time.monotonic()
        if now >= self._next_shown:
            self._next_shown = now + SHOWN_EVERY
            self._display.numbers(self._spending.share(position), speed=self._shown(*self._speeds()))
            self._display.reached(position.epoch_name)

    def finished_task(self, position: Position) -> None:
        """The training on a task has ended: the mean of the online measure over its rows is logged."""
        if self._stream.is_sequence:
            total, rows = position.predicted
            position.online.append(total / rows if rows else None)
            self._log(position, task_online=position.online[-1])

    # ---- measuring ----

    def validated(self, position: Position) -> None:
        """The model was measured on validation data."""
        self._log(position, validation=position.validation)
        which = f" (task {position.task + 1})" if len(self._stream) > 1 else ""
        self._display.numbers(self._spending.share(position), validation=score_shown(position.validation) + which)
        self._display.evaluated(position.epoch_name)

    def tested(self, position: Position, test: dict[str, float]) -> None:
        """The model was measured on test data, in ordinary training."""
        self._log(position, test=test)

    def measured_between(self, position: Position, means: dict[str, float]) -> None:
        """The tasks so far were measured between two updates."""
        self._log(position, anytime=means)

    def measuring_row(self, matrix: list[MatrixRow], done: int, wanted: int) -> None:
        """Report the number of measured tasks of a row."""
        self._display.matrix(matrix)
        self._display.reached(f"tested on task {done} of {wanted}")

    def measured_row(self, position: Position, done: int, test: dict[str, float] | None) -> None:
        """The last row of the accuracy matrix, after `done` tasks, is complete; `test` are the means."""
        rows = {"row": position.matrix[-1]}
        row = cells(position.matrix[-1], self._stream.tested)
        if position.task_matrix:
            rows["task_row"] = position.task_matrix[-1]
            if (line := known_task_hurts(row, cells(position.task_matrix[-1], self._stream.tested))) is not None:
                self._display.warn(line)
        if position.loss_matrix:
            rows["loss_row"] = position.loss_matrix[-1]
        if position.bits_matrix:
            rows["bits_row"] = position.bits_matrix[-1]
        self._display.measured(done, row)
        self._log(position, **({"test": test} if test else {}), **rows)

    # ---- both ----

    def _log(self, position: Position, **values: Any) -> None:
        learner = self._learner
        used = counts(learner, self._config.data.batch_size)
        where = {"step": learner.updates, "task": position.task, "epoch": position.epoch}
        where |= {name: used[name] for name in ("samples", "rows", "passes", "tokens", "items") if name in used}
        self._logs.metrics.write({**where, **values})

    @property
    def _taken(self) -> tuple[int, int]:
        """Rows and tokens of the stream so far."""
        return self._learner.work.samples, self._learner.work.tokens

    def _speeds(self) -> tuple[float, float]:
        """Samples and tokens per second since the last line of the log."""
        seconds, (samples, tokens) = self._last_line
        passed = max(self._clock.seconds - seconds, 1e-9)
        return (self._taken[0] - samples) / passed, (self._taken[1] - tokens) / passed

    def _shown(self, samples: float, tokens: float) -> str:
        """Return the speed in tokens if the data have tokens, else in samples."""
        return f"{tokens:,.0f} tokens/s" if self._learner.work.tokens else f"{samples:,.0f}/s"

    def _watch(self, position: Position, loss: float, notes: dict[str, float]) -> None:
        """Warn of unusual numbers, each once in a task."""
        task = position.task
        if self._watched[0] != task:
            self._watched = (task, loss, set())
        _, first, said = self._watched
        for name, line in while_training(task, first, loss, notes).items():
            if name not in said:
                said.add(name)
                self._display.warn(f"task {task + 1}: {line}" if len(self._stream) > 1 else line)
