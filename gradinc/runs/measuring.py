"""Measuring a run on the rows that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from gradinc.base.crash import crash_point
from gradinc.config.schema import EvaluateSection
from gradinc.core.learner import Learner
from gradinc.data.rows import Rows
from gradinc.data.stream import Stream
from gradinc.data.task import Task
from gradinc.records.schemas import Measures
from gradinc.runs.evaluate import evaluate
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

    def validation(self, position: Position) -> Measures:
        """Return the mean over the validation rows of every task in training; empty if there are none."""
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
        if self._stream.is_sequence:
            return self.row(position, task.index + 1)
        if self._options.rows != "test":
            return None
        test = self._measure(task.test)
        self._reporter.tested(position, test)
        return test

    def row(self, position: Position, done: int) -> Measures | None:
        """Add the row after `done` tasks to the accuracy matrix.

        Returns:
            The means over the tasks seen, of the scored tasks as soon as one was seen; None if test data are not
            looked at.
        """
        stream = self._stream
        wanted = stream.tested if done == 0 or self._options.tasks == "all" else min(done + 1, stream.tested)
        measured: list[Measures] = []
        for measures in self._tasks(wanted):
            measured.append(measures)
            self._reporter.measuring_row(
                [*position.matrix, _row(measured, "accuracy", stream.tested)], len(measured), wanted
            )
        position.matrix.append(_row(measured, "accuracy", stream.tested))
        if "accuracy_in_task" in measured[0]:
            position.task_matrix.append(_row(measured, "accuracy_in_task", stream.tested))
        seen = measured[stream.scored.start : done] or measured[:done]
        means = {name: sum(each[name] for each in seen) / len(seen) for name in seen[0]} if seen else {}
        test = means if self._options.rows == "test" else None
        self._reporter.measured_row(position, done, test)
        return test

    def _tasks(self, count: int) -> Iterator[Measures]:
        """The measures of the first `count` tasks, one after another."""
        for index in range(count):
            yield self._measure(self._stream.part(self._options.rows, index), index)
            crash_point("task-measured")

    def _measure(self, rows: Rows, task: int = 0) -> Measures:
        learner = self._learner
        with learner.evaluating():
            return evaluate(
                learner.model,
                rows,
                learner.criterion,
                learner.passes.autocast,
                self._check,
                task=task,
                now=learner.place.task,
            )


def _row(measured: list[Measures], name: str, tasks: int) -> list[float | None]:
    """Return one measure of the measured tasks, and None for the others."""
    return [*(each[name] for each in measured), *[None] * (tasks - len(measured))]
