"""One run: the loop over tasks, epochs and micro-batches, and what is saved of it."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import torch
from annotated_types import Ge
from pydantic import BaseModel, ConfigDict, create_model
from torch import Tensor

from gradinc.base.crash import crash_point
from gradinc.base.errors import Interrupted, Stalled
from gradinc.base.files import storing
from gradinc.base.randomness import generator
from gradinc.base.signals import Interruption
from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.core.plan import extent
from gradinc.core.state import expect
from gradinc.core.world import World
from gradinc.data.augment import augment
from gradinc.data.batch import Batch
from gradinc.data.dataset import Dataset
from gradinc.data.rows import Rows
from gradinc.data.stream import Stream, Task
from gradinc.records.directory import RunDirectory
from gradinc.records.log import Log, NoLog, whole_lines
from gradinc.records.metrics import metrics
from gradinc.runs import budget, checkpoint
from gradinc.runs.build import Shape, build_model
from gradinc.runs.display import Display, score_shown
from gradinc.runs.evaluate import evaluate
from gradinc.runs.warnings import idle_penalty, known_task_hurts, rising, small_memories

SHOWN_EVERY = 0.5
"""Seconds between two updates of what the display shows."""


@dataclass
class Position:
    """Where a run is: always between two micro-batches.

    Attributes:
        task: tasks that are behind it.
        epoch: epochs of the task that are behind it.
        batch: micro-batches of the epoch that are behind it.
        steps: updates of the run when the epoch began.
        stage: what comes next: ``training``, or the measuring on ``validation`` or, at a task's end, ``test`` data.
        ended_by: the limit that has ended the task, if one has.
        began: steps, samples and seconds of the run when the task began; the learner knows it of rows.
        best: score and step of the best validation in this task.
        validation: the last measures on validation data.
        tasks: what came of each task that is done.
        matrix: accuracy on each task, before any training and after each task; None where it was not measured.
        task_matrix: the same with the outputs of other tasks masked, where they are not anyway.
    """

    task: int = 0
    epoch: int = 0
    batch: int = 0
    steps: int = 0
    stage: str = "training"
    ended_by: str | None = None
    began: list[float] = field(default_factory=lambda: [0, 0, 0.0])
    best: list[float] = field(default_factory=list)
    validation: dict[str, float] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    matrix: list[list[float | None]] = field(default_factory=list)
    task_matrix: list[list[float | None]] = field(default_factory=list)


_PLACE: dict[str, Any] = {name: (kind, None) for name, kind in get_type_hints(Position).items()}
_Place: Any = create_model("_Place", __config__=ConfigDict(strict=True, extra="forbid"), **_PLACE)
"""A position as a checkpoint has it: an older one lacks what is younger."""


class _Saved(BaseModel):
    """What a checkpoint holds of a run besides its learner."""

    model_config = ConfigDict(strict=True)

    learner: dict[str, Any]
    position: _Place
    seconds: float
    log_offset: Annotated[int, Ge(0)]
    log_digest: str


class Run:
    """Stream, learner, position and record of one run in its directory."""

    def __init__(
        self,
        config: Config,
        directory: RunDirectory,
        dataset: Dataset,
        stream: Stream,
        learner: Learner,
        display: Display,
        stop: Interruption,
    ) -> None:
        self.config, self.directory, self.dataset, self.stream = config, directory, dataset, stream
        self.learner, self.display, self.stop = learner, display, stop
        self.world = learner.place.world
        self.position = Position()
        self.device = learner.weights.value.device
        self._folder = directory.path / "ckpt"
        self._clock_base = 0.0
        self._clock_start = time.monotonic()
        self._metrics: Log | NoLog
        self._timing: Log | NoLog
        self._last_log = (0.0, 0)
        self._watched: tuple[int, float, set[str]] = (-1, 0.0, set())
        self._next_shown = 0.0
        self._resumed: tuple[Path | None, int] = (None, 0)

    # ---- saving and going on ----

    def resume(self) -> int | None:
        """Go on from the newest checkpoint that is whole; return its step, or None where there is none.

        Raises:
            UserError: the log is not the one that belongs to that checkpoint, or the checkpoint is another version's.
            StorageError: a file could not be written.
        """
        offset, digest, step = 0, None, None
        damaged = []
        for mark, state in checkpoint.newest(self._folder, self.directory.identity, self.device):
            if isinstance(state, checkpoint.Damaged):
                damaged.append((mark, state))
                continue
            offset, digest = self._take_in(mark, state)
            step = mark.updates
            break
        self._metrics = Log(self.directory.path / "metrics.jsonl", offset, digest)
        timing = self.directory.path / "timing.jsonl"
        self._timing = Log(timing, whole_lines(timing) if step is not None else 0)
        for mark, damage in damaged:
            self.display.warn(f"{self._folder / str(mark)} is damaged ({damage}). Going on from step {step or 0}.")
            checkpoint.set_aside(self._folder, mark)
        with storing(self._folder):
            self._folder.mkdir(exist_ok=True)
            for path in self._folder.glob(".*.tmp"):
                path.unlink()
            if step is None:
                (self._folder / checkpoint.BEST).unlink(missing_ok=True)
        self._clock_start = time.monotonic()
        self._last_log = (self.seconds, self.learner.work.samples)
        return step

    def follow(self, step: int | None) -> None:
        """Go on where the first process does, in a process that writes nothing.

        Args:
            step: what `resume` returned there.
        """
        if step is not None:
            for mark, state in checkpoint.newest(self._folder, self.directory.identity, self.device):
                if mark.updates == step and not isinstance(state, checkpoint.Damaged):
                    self._take_in(mark, state)
                    if self.learner.window.taken:  # one process began it: its gradient goes into the sum once
                        self.learner.weights.grad.zero_()
                    break
        self._metrics = self._timing = NoLog()
        self._clock_start = time.monotonic()
        self._last_log = (self.seconds, self.learner.work.samples)

    def _take_in(self, mark: checkpoint.Mark, state: dict[str, Any]) -> tuple[int, str]:
        """Go on from a checkpoint; return how long the log was then, and its digest.

        Raises:
            UserError: its state has no place in this program. The learner may have taken in half of it.
        """
        file = self._folder / str(mark)
        with checkpoint.fitting(file):
            saved = _Saved.model_validate(state)
            self.learner.load_state_dict(state["learner"])
            _reread(self.learner)
            self.position = Position(**state["position"])
            if not len(self.position.tasks) == self.position.task <= len(self.stream):
                raise ValueError("its position is not one of this stream")
            if len(self.position.began) != len(Position().began):
                raise ValueError("its position does not say where the task began")
            self._clock_base = state["seconds"]
        self._resumed = (file, self.learner.place.windows)
        return saved.log_offset, saved.log_digest

    @property
    def resumed(self) -> Path | None:
        """The checkpoint that was gone on from, until the first window after it is closed."""
        file, windows = self._resumed
        return file if windows == self.learner.place.windows else None

    def commit(self) -> None:
        """Save everything that a restart needs."""
        self.learner.finite.weights()
        self._next_commit = time.monotonic() + self.config.checkpoint.seconds
        if not self.world.leads:
            return
        self._metrics.sync()
        mark = checkpoint.Mark(self.learner.updates, self.learner.window.taken)
        state = {
            "learner": self.learner.state_dict(),
            "position": asdict(self.position),
            "seconds": self.seconds,
            "log_offset": self._metrics.offset,
            "log_digest": self._metrics.digest,
        }
        checkpoint.write(self._folder, str(mark), self.directory.identity, state)
        checkpoint.prune(self._folder, self.config.checkpoint.keep)
        self._next_commit = time.monotonic() + self.config.checkpoint.seconds

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken so far, over all its restarts."""
        return self._clock_base + time.monotonic() - self._clock_start

    # ---- the loop ----

    def train(self) -> dict[str, Any]:
        """Train on every task that is left, and return what goes into ``result.json``, as `result` does.

        Raises:
            Interrupted: a signal came; everything is saved.
            Diverged: a number is not finite; the last checkpoint is the last good state.
        """
        self._next_commit = time.monotonic() + self.config.checkpoint.seconds
        if self.stream.is_sequence and not self.position.matrix:
            self._measure_row(0)
        for index in range(self.position.task, len(self.stream)):
            self._train_task(self.stream[index])
        return self.result()

    def result(self) -> dict[str, Any]:
        """What goes into ``result.json`` after the last task."""
        last = self.position.tasks[-1]
        return {
            "status": "finished",
            "test": last["test"],
            "validation": last["validation"],
            "best": last["best"],
            "ended_by": last["ended_by"],
            "epochs": last["epochs"],
            **self.counts(),
            "seconds": round(self.seconds, 3),
            "weights_digest": checkpoint.digest(self.learner.model.state_dict()),
            "kept_bytes": sum(method.nbytes for method in self.learner.methods),
            **self._matrices(),
        }

    def counts(self) -> dict[str, Any]:
        """What the run has used so far, for its records."""
        work = self.learner.work
        return {"samples": work.samples, "steps": self.learner.updates, **work.record(self.config.data.batch_size)}

    def last_checkpoints(self) -> list[str]:
        """The checkpoints that stand for the run's end, by their names in its directory: the newest, and the best."""
        names = [str(mark) for mark in checkpoint.marks(self._folder)[:1]]
        names += [checkpoint.BEST] if (self._folder / checkpoint.BEST).exists() else []
        return [f"{self._folder.name}/{name}" for name in names]

    def close(self) -> None:
        self._metrics.close()
        self._timing.close()

    def _train_task(self, task: Task) -> None:
        position, learner = self.position, self.learner
        learner.model.train()
        if (position.stage, position.epoch, position.batch) == ("training", 0, 0):
            position.began = [learner.updates, learner.work.samples, self.seconds]
            restart = self.config.stream.restart if position.task else "nothing"
            if restart == "weights":
                self._draw_weights(task)
            learner.begin(task, restart=restart != "nothing")
            if position.task == 0:
                for warning in small_memories(learner.named, self.stream.setting, self.config.data.batch_size):
                    self.display.warn(warning)
        self._limits = budget.limits(self.config.budget, len(task.train), *self.stream.budgets)
        if learner.work.rows > learner.work.ended and (limit := self._reached()) in ("rows", "passes"):
            what = f"at the end of the task before, methods took as many rows as budget.{limit} has for this one"
            self.display.warn(f"task {task.index + 1}: {what}, so that nothing is trained in it")
        self.display.begin(self._title(task), self._share(task))
        while position.stage != "test":
            if position.stage == "training":
                self._train_epoch(task)
            else:
                self._end_epoch(task)
        test = None
        if self.stream.is_sequence:
            test = self._measure_row(task.index + 1)
        elif self.config.evaluate.rows == "test":
            test = self._measure(task.test)
            self._log(test=test)
        position.tasks.append(
            {
                "task": task.index,
                "ended_by": position.ended_by,
                "epochs": position.epoch,
                "test": test,
                "validation": position.validation,
                "best": {"score": position.best[0], "step": int(position.best[1])} if position.best else None,
            }
        )
        self.position = Position(
            position.task + 1,
            began=position.began,
            tasks=position.tasks,
            matrix=position.matrix,
            task_matrix=position.task_matrix,
        )
        self.commit()
        crash_point("task-committed")

    def _draw_weights(self, task: Task) -> None:
        """Start a task from fresh weights."""
        shape = Shape(self.dataset.shape, self.stream.setting.outputs)
        fresh = build_model(self.config, shape, self.device, task.index)
        self.learner.model.load_state_dict(fresh.state_dict())

    def _train_epoch(self, task: Task) -> None:
        """The rest of an epoch."""
        position, learner = self.position, self.learner
        if position.batch == 0:
            position.steps = learner.updates
        position.ended_by = self._train_windows(task)
        if position.ended_by is None:
            self._check_progress()
            position.epoch, position.batch = position.epoch + 1, 0
            if self._limits.epochs is not None and position.epoch >= self._limits.epochs:
                position.ended_by = "epochs"
        if position.ended_by is not None and learner.window.taken:
            learner.window.ends = True
            learner.update()  # a window never crosses into another task
        if position.ended_by is not None or position.epoch % self.config.evaluate.epochs == 0:
            position.stage = "validation"

    def _check_progress(self) -> None:
        """At the end of an epoch: some windows have to make an update where nothing else ends the training.

        Raises:
            Stalled: the rule has rejected all of them.
        """
        limits, learner = self._limits, self.learner
        ends = any(getattr(limits, name) is not None for name in ("epochs", "samples", "rows", "passes", "seconds"))
        if not ends and learner.updates == self.position.steps and learner.window.taken == 0:
            rule = self.config.strategy.window.rule
            what = f"rejected every window of epoch {self.position.epoch + 1}, so that training would not end"
            raise Stalled(f"strategy.window.rule={rule}", what, "Loosen the rule, or add budget.epochs=…")

    def _end_epoch(self, task: Task) -> None:
        """Validate, and go on with the next epoch or with the end of the task."""
        position, learner = self.position, self.learner
        reached = self._validate(task)
        if position.ended_by is None and reached:
            position.ended_by = "accuracy"
        if position.ended_by is None:
            position.stage = "training"
            return
        learner.end(task)
        position.stage = "test"
        crash_point("task-end")

    def _train_windows(self, task: Task) -> str | None:
        """Take the micro-batches that are left of this epoch, until a limit ends the task."""
        position, learner, config = self.position, self.learner, self.config
        rows, size, window, world = task.train, config.data.batch_size, config.strategy.window, self.world
        length = math.ceil(len(rows) / size)
        order = torch.arange(len(rows))
        if config.data.shuffle:
            order = torch.randperm(len(rows), generator=generator(config.seed, "order", task.index, position.epoch))
        begun = position.batch
        batches = rows.batches(*_share(order, size, begun, world))
        names, fill = config.data.augment, self.dataset.fill if config.data.augment else 0.0
        of_rows = task.tasks
        end = begun + learner.window.size - learner.window.taken if learner.window.taken else begun
        for index in range(begun, length):
            if index == end:
                if (limit := self._reached()) is not None:
                    return limit
                wanted = learner.window.due.size(learner.updates, window.size, size) * world.size
                count = extent(index, length, wanted, window.last)
                if count == 0:
                    break
                ends = extent(index + count, length, wanted, window.last) == 0
                learner.open(_rows_of_window(len(rows), size, index, count), count, ends=ends)
                end = index + count
            if (index - begun) % world.size == world.rank:
                x, y = next(batches)
                if names:
                    x = augment(x, names, self._draw("augment", task.index, position.epoch, index), fill)
                tasks = None
                if of_rows is not None:
                    tasks = of_rows[order[index * size : index * size + len(y)].to(self.device)]
                learner.take(Batch(x, y, task.index, y.shape[0], tasks=tasks))
            position.batch = index + 1
            if index + 1 == end:
                updated = learner.update()
                if updated and learner.updates % config.log.steps == 0:
                    self._log_training(task)
            elif not world.alone:
                continue  # where windows are shared, they are saved and stopped at their ends
            if not world.alone:
                self.stop.signum = world.largest(self.stop.signum)
            now = time.monotonic()
            if now >= self._next_shown:
                self._show_progress(task)
            if self.stop.signum or now >= self._next_commit:
                self.commit()
                self.stop.check()
        return self._reached()

    def _draw(self, *purpose: object) -> torch.Generator:
        return generator(self.config.seed, *purpose, device=self.device)

    def _reached(self) -> str | None:
        for name in budget.COUNTED:
            limit = getattr(self._limits, name)
            if limit is None:
                continue
            used: float = getattr(self._spent(), name)
            if name == "seconds" and not self.world.alone:  # several processes go by the first one's clock
                used = self.world.first(round(used * 1000)) / 1000
            if used >= limit:
                return name
        return None

    def _spent(self) -> budget.Spent:
        """What the task has used so far. What methods took at the end of the task before is part of it."""
        (steps, samples, seconds), work = self.position.began, self.learner.work
        rows = work.rows - work.ended
        return budget.Spent(
            self.position.epoch,
            int(self.learner.updates - steps),
            int(work.samples - samples),
            rows,
            rows / self.config.data.batch_size,
            self.seconds - seconds,
        )

    # ---- measuring and telling ----

    def _measure(self, rows: Rows, task: int = 0) -> dict[str, float]:
        learner = self.learner
        try:
            with learner.evaluating():
                return evaluate(
                    learner.model,
                    rows,
                    learner.criterion,
                    learner.passes.autocast,
                    self.stop.check if self.world.alone else _go_on,
                    task=task,
                    now=learner.place.task,
                )
        except Interrupted:
            self.commit()  # the measuring is done again from its beginning
            raise

    def _measure_row(self, done: int) -> dict[str, float] | None:
        """Fill a row of the accuracy matrix, after so many tasks.

        Returns:
            The means over the test rows of the tasks seen, of those that metrics count as soon as there is one;
            None where test rows are not looked at.
        """
        position, stream = self.position, self.stream
        wanted = stream.tested if done == 0 or self.config.evaluate.tasks == "all" else min(done + 1, stream.tested)
        measured: list[dict[str, float]] = []
        for index in range(wanted):
            measured.append(self._measure(stream.part(self.config.evaluate.rows, index), index))
            crash_point("task-measured")
            self.display.matrix([*position.matrix, _row(measured, "accuracy", stream.tested)])
            self.display.reached(f"tested on task {index + 1} of {wanted}")
        position.matrix.append(_row(measured, "accuracy", stream.tested))
        if "accuracy_in_task" in measured[0]:
            position.task_matrix.append(_row(measured, "accuracy_in_task", stream.tested))
            if (warning := known_task_hurts(position.matrix[-1], position.task_matrix[-1])) is not None:
                self.display.warn(warning)
        self.display.measured(done, position.matrix[-1])
        seen = measured[stream.scored.start : done] or measured[:done]
        means = {name: sum(each[name] for each in seen) / len(seen) for name in seen[0]} if seen else {}
        test = means if self.config.evaluate.rows == "test" else None
        matrices = {"row": position.matrix[-1]}
        if position.task_matrix:
            matrices["task_row"] = position.task_matrix[-1]
        self._log(**({"test": test} if test else {}), **matrices)
        return test

    def _matrices(self) -> dict[str, Any]:
        """The accuracy matrix of a stream of tasks and what metrics make of it, for ``result.json``."""
        position, stream = self.position, self.stream
        if not stream.is_sequence:
            return {}
        values, reasons = metrics(position.matrix, stream.scored)
        found: dict[str, Any] = {"protocol": None if stream.protocol is None else stream.protocol.record()}
        found |= {"matrix": position.matrix, "metrics": values, "undefined": reasons}
        if position.task_matrix:
            in_task, _ = metrics(position.task_matrix, stream.scored)
            found |= {"task_matrix": position.task_matrix, "task_metrics": in_task}
        return found

    def _validate(self, task: Task) -> bool:
        """Measure on validation data, keep the weights if they are the best; is the wanted accuracy reached?"""
        position, learner = self.position, self.learner
        self._log_training(task)
        self.world.copy_(learner.model.buffers())
        position.validation = self._measure_validation()
        if not position.validation:
            return False
        self._log(validation=position.validation)
        score = position.validation[learner.criterion.score]
        if learner.criterion.better(score, position.best[0] if position.best else None):
            position.best = [score, learner.updates]
            if self.world.leads:
                self._keep_best()
        self.display.numbers(self._share(task), validation=score_shown(position.validation))
        self.display.evaluated(self._epoch)
        wanted = self._limits.accuracy
        return wanted is not None and score >= wanted

    def _keep_best(self) -> None:
        """Keep the weights that stand for the run now as its best."""
        with self.learner.evaluating():
            state = {"model": self.learner.model.state_dict(), "step": self.learner.updates}
            state["validation"] = self.position.validation
            checkpoint.write(self._folder, checkpoint.BEST, self.directory.identity, state)

    def _measure_validation(self) -> dict[str, float]:
        """The mean over the validation rows of every task that is trained on at present."""
        total: dict[str, float] = {}
        count = 0
        for index in self.stream.parts(self.position.task):
            rows = self.stream.part("validation", index)
            for name, value in self._measure(rows, index).items():
                total[name] = total.get(name, 0.0) + value * len(rows)
            count += len(rows)
        return {name: value / count for name, value in total.items()}

    def _log_training(self, task: Task) -> None:
        values = self.learner.drain()
        loss = values.pop("loss")
        if loss is None:
            return
        self._log(lr=self.learner.lr, train={"loss": loss}, **values)
        self._watch(loss, values.get("notes", {}))
        seconds, rate = self.seconds, self._speed()
        self._last_log = (seconds, self.learner.work.samples)
        self._timing.write(
            {
                "step": self.learner.updates,
                "seconds": round(seconds, 3),
                "samples_per_second": round(rate, 1),
                "clock": round(time.time(), 1),
            }
        )
        self.display.numbers(self._share(task), loss=f"{loss:.4f}", speed=f"{rate:,.0f}/s")

    def _show_progress(self, task: Task) -> None:
        """Show how far training is, also where no line of the log is due for long."""
        self._next_shown = time.monotonic() + SHOWN_EVERY
        self.display.numbers(self._share(task), speed=f"{self._speed():,.0f}/s")
        self.display.reached(self._epoch)

    def _speed(self) -> float:
        """Samples per second since the last line of the log."""
        before, samples = self._last_log
        return (self.learner.work.samples - samples) / max(self.seconds - before, 1e-9)

    @property
    def _epoch(self) -> str:
        """The epoch that training is in, or has just ended."""
        return f"epoch {self.position.epoch + (self.position.batch > 0)}"

    def _watch(self, loss: float, notes: dict[str, float]) -> None:
        """Say what is not normal, once in a task."""
        task = self.position.task
        if self._watched[0] != task:
            self._watched = (task, loss, set())
        _, first, said = self._watched
        for warning in (idle_penalty(notes, task), rising(first, loss)):
            if warning is not None and warning[:20] not in said:
                said.add(warning[:20])
                self.display.warn(f"task {task + 1}: {warning}" if len(self.stream) > 1 else warning)

    def _log(self, **values: Any) -> None:
        learner, position = self.learner, self.position
        where = {"step": learner.updates, "task": position.task, "epoch": position.epoch}
        counts = {name: self.counts()[name] for name in ("samples", "rows", "passes")}
        self._metrics.write({**where, **counts, **values})

    def _share(self, task: Task) -> float:
        """How much of the whole run is done, from 0 to 1."""
        position = self.position
        epoch_share = position.batch * self.config.data.batch_size / max(1, len(task.train))
        return (position.task + self._limits.share(self._spent(), min(1.0, epoch_share))) / len(self.stream)

    def _title(self, task: Task) -> str:
        count = len(self.stream)
        return f"task {task.index + 1} of {count}" if count > 1 else "training"


def _reread(learner: Learner) -> None:
    """Look whether the batches that an open window has kept fit the model, as a method will read them again.

    Raises:
        ValueError, RuntimeError: they do not.
    """
    work, log = learner.work.state_dict(), learner.notes.state_dict()
    for index, (batch, kept) in enumerate(zip(learner.window.batches, learner.window.outputs, strict=True)):
        with learner.passes.undisturbed(index):
            out = learner.passes.forward(batch)
            expect("an output of the window", kept, out)
            learner.objective(batch, out)
    learner.work.load_state_dict(work)
    learner.notes.load_state_dict(log)


def _row(measured: list[dict[str, float]], name: str, tasks: int) -> list[float | None]:
    """One measure of the tasks that were looked at, and None for the others."""
    return [*(each[name] for each in measured), *[None] * (tasks - len(measured))]


def _share(order: Tensor, size: int, begun: int, world: World) -> tuple[Tensor, int, int]:
    """What `Rows.batches` is asked for: this process's micro-batches, from number `begun` of the epoch on."""
    if world.alone:
        return order, size, begun
    own = order[begun * size :].split(size)[world.rank :: world.size]
    return (torch.cat(own) if own else order[:0]), size, 0


def _go_on() -> None:
    """Processes that measure together stop together, at the end of a window."""


def _rows_of_window(rows: int, batch_size: int, first: int, count: int) -> int:
    """Rows in a window of `count` micro-batches from micro-batch `first` of an epoch on, over its end if need be."""
    epochs, end = divmod(first + count, math.ceil(rows / batch_size))
    return epochs * rows + end * batch_size - first * batch_size
