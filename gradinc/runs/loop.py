"""The training loop: tasks, epochs, windows."""

from __future__ import annotations

from gradinc.base.crash import crash_point
from gradinc.base.errors import Interrupted
from gradinc.base.signals import Interruption
from gradinc.core.criterion import with_terms
from gradinc.data.task import Task
from gradinc.runs.build import build_model
from gradinc.runs.epoch import Epoch
from gradinc.runs.measuring import Measurer
from gradinc.runs.position import Position
from gradinc.runs.prepare import Prepared
from gradinc.runs.repeats import Repeats
from gradinc.runs.reporting import Reporter
from gradinc.runs.saving import Saving
from gradinc.runs.spending import Spending


class Loop:
    """Trains a learner on its stream, from a position to the end.

    Attributes:
        position: the position of the run.
    """

    def __init__(
        self,
        parts: Prepared,
        position: Position,
        *,
        spending: Spending,
        measurer: Measurer,
        reporter: Reporter,
        saver: Saving,
        stop: Interruption,
    ) -> None:
        self.config, self.stream, self.learner, self.parts = parts.config, parts.stream, parts.learner, parts
        self.position = position
        self.spending, self.measurer, self.reporter, self.saver = spending, measurer, reporter, saver
        self.stop = stop
        self.world = parts.learner.place.world

    def train(self) -> None:
        """Train on all remaining tasks.

        Raises:
            Interrupted: a signal came; everything is saved.
            Diverged: a number is not finite; the last checkpoint is the last good state.
        """
        try:
            if self.stream.has_matrix and not self.position.matrix:
                self.saver.offer(self.position)
                self.measurer.row(self.position, 0)
            for index in range(self.position.task, len(self.stream)):
                self._train_task(self.stream[index])
        except Interrupted:
            self.saver.commit(self.position)  # an interrupted evaluation is repeated from its beginning
            raise

    def _train_task(self, task: Task) -> None:
        task = with_terms(task, self.learner.criterion)
        self._begin(task)
        while self.position.stage != "test":
            if self.position.stage == "training":
                self._train_epoch(task)
            else:
                self._end_epoch(task)
        self.saver.offer(self.position)
        self.position = self.position.after_task(self.measurer.test(self.position, task))
        self.saver.commit(self.position)
        crash_point("task-committed")

    def _begin(self, task: Task) -> None:
        """Begin or resume a task."""
        position, learner = self.position, self.learner
        learner.model.train()
        if position.is_new_task:
            position.began = self.spending.total()
            restart = self.config.stream.restart if position.task else "nothing"
            if restart == "weights":
                fresh = build_model(self.config, self.parts.shape, self.parts.device, task.index)
                learner.model.load_state_dict(fresh.state_dict())
            learner.begin(task, restart=restart != "nothing")
        self.spending.begin(len(task.train))
        self.reporter.task(task, position)

    def _train_epoch(self, task: Task) -> None:
        """Train on the rest of an epoch."""
        position, learner = self.position, self.learner
        if position.batch == 0:
            position.steps = learner.updates
        position.ended_by = self._train_windows(task)
        if position.ended_by is None:
            self.spending.check_progress(position)
            position.epoch, position.batch = position.epoch + 1, 0
            epochs = self.spending.limits.epochs
            if epochs is not None and position.epoch >= epochs:
                position.ended_by = "epochs"
        if position.ended_by is not None and learner.window.taken:
            learner.window.ends = True
            learner.update()  # a window never crosses into another task
        if position.ended_by is not None or position.epoch % self.config.evaluate.epochs == 0:
            position.stage = "validation"

    def _train_windows(self, task: Task) -> str | None:
        """Train on the remaining micro-batches of an epoch; return the limit that ends the task, or None."""
        position, learner, world = self.position, self.learner, self.world
        data, steps = self.config.data, self.config.evaluate.steps
        fill = self.parts.dataset.fill if data.augment else 0.0
        once = Epoch(task, position.epoch, self.config.seed, data, fill, world, self.parts.device)
        times = self.config.stream.updates_per_batch
        epoch = once if times == 1 else Repeats(once, times, self.config.strategy.window.size)
        if position.measures:
            self._measure_anytime()
        begun, length = position.batch, epoch.length
        batches = epoch.batches(begun)
        end = begun + learner.window.size - learner.window.taken if learner.window.taken else begun
        for index in range(begun, length):
            if index == end:
                if (limit := self.spending.reached(position)) is not None:
                    return limit
                if (count := self._open(epoch, index)) == 0:
                    break
                end = index + count
            if (index - begun) % world.size == world.rank:
                learner.take(next(batches))
            position.batch = index + 1
            if index + 1 == end and learner.update():
                self.reporter.updated(position)
                if steps is not None and learner.updates % steps == 0:
                    position.measures = True
                    self._measure_anytime()
            if index + 1 == end or world.alone:  # processes that share a window save and stop at its end
                self._pause()
        return self.spending.reached(position)

    def _measure_anytime(self) -> None:
        """Measure the tasks so far, between two windows; a run that is interrupted here repeats it."""
        self.world.copy_(self.learner.model.buffers())
        self.measurer.anytime(self.position)
        self.position.measures = False

    def _open(self, epoch: Epoch | Repeats, first: int) -> int:
        """Open the window that begins with micro-batch `first`; return its number of micro-batches, 0 for no window."""
        window = self.config.strategy.window
        size = self.learner.window.due.size(self.learner.place.updates, window.size, self.config.data.batch_size)
        size *= self.world.size
        count = epoch.window(first, size, window.last)
        if count:
            ends = epoch.window(first + count, size, window.last) == 0
            self.learner.open(epoch.planned(first, count), count, ends=ends)
        return count

    def _pause(self) -> None:
        """Between two micro-batches: show the progress, stop if a signal came, save if it is time.

        Raises:
            Interrupted: a signal came.
        """
        if not self.world.alone:
            self.stop.signum = self.world.largest(self.stop.signum)
        self.reporter.progress(self.position)
        self.stop.check()
        self.saver.offer(self.position)

    def _end_epoch(self, task: Task) -> None:
        """Validate, and decide whether another epoch or the end of the task follows."""
        position = self.position
        if self._validate() and position.ended_by is None:
            position.ended_by = "accuracy"
        if position.ended_by is None:
            position.stage = "training"
            return
        self.learner.end(task)
        self.reporter.finished_task(position)
        position.stage = "test"
        crash_point("task-end")

    def _validate(self) -> bool:
        """Measure on validation data, save the best weights, and return whether the target accuracy is reached."""
        position, learner = self.position, self.learner
        self.reporter.training(position)
        self.world.copy_(learner.model.buffers())
        self.saver.offer(position)
        position.validation = self.measurer.validation(position)
        if not position.validation:
            return False
        score = position.validation[learner.criterion.score]
        if learner.criterion.better(score, position.best[0] if position.best else None):
            position.best = [score, learner.updates]
            self.saver.keep_best(position)
        self.reporter.validated(position)
        wanted = self.spending.limits.accuracy
        return wanted is not None and score >= wanted
