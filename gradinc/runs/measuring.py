"""Evaluation of a run on rows that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable

from gradinc.base.crash import crash_point
from gradinc.config.schema import EvaluateSection
from gradinc.core.learner import Learner
from gradinc.data.rows import Rows
from gradinc.data.stream import Stream
from gradinc.data.task import Task
from gradinc.records.matrix import MatrixRow
from gradinc.records.metrics import measured_tasks
from gradinc.records.schemas import Measures
from gradinc.runs.evaluate import evaluate, metric_of
from gradinc.runs.position import Position
from gradinc.runs.reporting import Reporter


class Measurer:
    """Measures the model with the weights that represent the run.

    Args:
        options: the ``evaluate`` section of the config.
        check: called before each forward pass; an error that it raises ends the measuring.
    """

    def __init__(
        self, learner: Learner, stream: Stream, options: EvaluateSection, reporter: Reporter, check: Callable[[], None]
    ) -> None:
        self._learner, self._stream, self._options = learner, stream, options
        self._reporter, self._check = reporter, check
        self._tasks = measured_tasks(options.tasks, len(stream))

    def validation(self, position: Position) -> Measures:
        """Return the mean measures on the validation rows of every task in training; empty without validation rows."""
        total: Measures = {}
        count = 0
        for index in self._stream.parts(position.task):
            rows = self._stream.part("validation", index)
            for name, value in self._measure(rows, index).items():
                total[name] = total.get(name, 0.0) + value * len(rows)
            count += len(rows)
        return {name: value / count for name, value in total.items()}

    def test(self, position: Position, task: Task) -> Measures | None:
        """Measure at a task's end: the test rows, or a row of the accuracy matrix.

        Returns:
            The measures on test data, None if test data are not used.
        """
        if self._stream.has_matrix:
            return self.row(position, task.index + 1)
        if self._options.rows != "test" or (self._stream.is_sequence and self._tasks == "none"):
            return None
        test = self._measure(task.test, task.index)
        self._reporter.tested(position, test)
        return test

    def anytime(self, position: Position) -> None:
        """Measure the tasks so far between two updates (``evaluate.steps``): their mean counts in the anytime accuracy.

        The best of these means in a task is the oracle's: it is chosen on the rows of the results themselves, so it
        decides nothing.
        """
        stream = self._stream
        tasks = range(stream.tested if len(stream) == 1 else position.task + 1)
        found = [self._measure(stream.part(self._options.rows, task), task) for task in tasks]
        means = {name: sum(each[name] for each in found) / len(found) for name in found[0]}
        criterion, step = self._learner.criterion, self._learner.updates
        score = means[criterion.score]
        position.anytime = [position.anytime[0] + 1, position.anytime[1] + score]
        if criterion.better(score, position.oracle[0] if position.oracle else None):
            position.oracle = [score, step]
        self._reporter.measured_between(position, means)

    def row(self, position: Position, done: int) -> Measures | None:
        """Add the row after `done` tasks to the accuracy matrix, unless no task is measured.

        Returns:
            The means over the tasks seen so far (only scored tasks, once one was seen); None if test data are not
            used, or if not all of these tasks were measured.
        """
        stream = self._stream
        if self._tasks == "none":
            return None
        wanted = self._wanted(done)
        measured: dict[int, Measures] = {}
        for task in wanted:
            measured[task] = self._measure(stream.part(self._options.rows, task), task)
            row = self._row(measured, "accuracy", wanted)
            self._reporter.measuring_row([*position.matrix, row], len(measured), len(wanted))
            crash_point("task-measured")
        position.matrix.append(self._row(measured, "accuracy", wanted))
        if any("accuracy_in_task" in each for each in measured.values()):
            position.task_matrix.append(self._row(measured, "accuracy_in_task", wanted))
        if "perplexity" in next(iter(measured.values()), {}):
            position.loss_matrix.append(self._row(measured, "loss", wanted))
        if "bits_per_byte" in next(iter(measured.values()), {}):
            position.bits_matrix.append(self._row(measured, "bits_per_byte", wanted))
        tasks = range(stream.scored.start, done) or range(done)
        seen = [measured[task] for task in tasks if task in measured]
        means = {name: sum(each[name] for each in seen) / len(seen) for name in seen[0]} if seen else {}
        test = means if self._options.rows == "test" and len(seen) == len(tasks) else None
        self._reporter.measured_row(position, done, test)
        return test

    def _wanted(self, done: int) -> range:
        """Return the tasks to measure after `done` tasks."""
        stream = self._stream
        if self._tasks == "current" and done < stream.tested:
            return range(max(0, done - 1), done)
        if self._tasks == "needed" and done not in (0, stream.scored.start, stream.tested):
            return range(done - 1, done + 1)
        return range(stream.tested if done == 0 or self._tasks != "seen" else min(done + 1, stream.tested))

    def _row(self, measured: dict[int, Measures], name: str, wanted: range) -> MatrixRow:
        """Return one measure of the measured tasks, and None for the others in a row of all tasks."""
        if wanted.start or len(wanted) < min(2, self._stream.tested):
            return {str(task): each[name] for task, each in measured.items()}
        return [*(each[name] for each in measured.values()), *[None] * (self._stream.tested - len(measured))]

    def _measure(self, rows: Rows, task: int = 0) -> Measures:
        learner = self._learner
        with learner.evaluating(task):
            return evaluate(
                learner.model,
                rows,
                learner.criterion,
                learner.passes.autocast,
                self._check,
                task=task,
                now=learner.place.task,
                classifier=learner.classifier(),
                metric=metric_of(self._options),
            )
