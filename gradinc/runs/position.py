"""The position of a run in its stream."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from gradinc.records.matrix import MatrixRow

LOGGED = ("matrix", "task_matrix", "online", "loss_matrix", "bits_matrix")
"""Fields that a restart reads from the log: a checkpoint's size does not grow with the number of tasks."""


@dataclass
class Position:
    """The position of a run: always between two micro-batches.

    Attributes:
        task: number of finished tasks.
        epoch: number of finished epochs of the task.
        batch: number of finished micro-batches of the epoch.
        steps: updates of the run when the epoch began.
        stage: the next action: ``training``, or evaluation on ``validation`` or, at a task's end, ``test`` data.
        ended_by: the limit that has ended the task, or None.
        began: steps, samples and seconds of the run when the task began; `gradinc.core.work.Work` counts rows.
        best: score and step of the best validation in this task.
        predicted: sum of the online measure over the rows of the task so far, and their number: each row was predicted
            before it was trained on.
        measures: whether the measurement of the tasks so far, every ``evaluate.steps`` updates, is the next action.
        anytime: the number of these measurements, and the sum of their scores.
        oracle: the best score of these measurements in this task and its step.
        validation: the last measures on validation data.
        tasks: a list with the result of the last finished task, or an empty list.
        matrix: accuracy on each task, before any training and after each task.
        task_matrix: the same with the outputs of other tasks masked, unless the scenario already masks them.
        online: the mean of the online measure in each finished task.
        loss_matrix: the mean loss of a token instead of the accuracy, for language models.
        bits_matrix: the loss in bits for a byte, for language models whose tokens have a size.
    """

    task: int = 0
    epoch: int = 0
    batch: int = 0
    steps: int = 0
    stage: Literal["training", "validation", "test"] = "training"
    ended_by: str | None = None
    began: list[float] = field(default_factory=lambda: [0, 0, 0.0])
    best: list[float] = field(default_factory=list)
    measures: bool = False
    anytime: list[float] = field(default_factory=lambda: [0, 0.0])
    oracle: list[float] = field(default_factory=list)
    predicted: list[float] = field(default_factory=lambda: [0.0, 0])
    validation: dict[str, float] = field(default_factory=dict)
    tasks: list[dict[str, Any]] = field(default_factory=list)
    matrix: list[MatrixRow] = field(default_factory=list)
    task_matrix: list[MatrixRow] = field(default_factory=list)
    online: list[float | None] = field(default_factory=list)
    loss_matrix: list[MatrixRow] = field(default_factory=list)
    bits_matrix: list[MatrixRow] = field(default_factory=list)

    @property
    def is_new_task(self) -> bool:
        """Return whether nothing of the task has been trained."""
        return (self.stage, self.epoch, self.batch) == ("training", 0, 0)

    @property
    def epoch_name(self) -> str:
        """The current epoch of training, or the epoch that has just finished: ``epoch 3``."""
        return f"epoch {self.epoch + (self.batch > 0)}"

    def after_task(self, test: dict[str, float] | None) -> Position:
        """The position at the beginning of the next task.

        Args:
            test: the measures on test data at the task's end, None if test data are not used.
        """
        result = {
            "task": self.task,
            "ended_by": self.ended_by,
            "epochs": self.epoch,
            "test": test,
            "validation": self.validation,
            "best": {"score": self.best[0], "step": int(self.best[1])} if self.best else None,
            "oracle": {"score": self.oracle[0], "step": int(self.oracle[1])} if self.oracle else None,
        }
        return Position(
            self.task + 1,
            began=self.began,
            anytime=self.anytime,
            tasks=[result],
            matrix=self.matrix,
            task_matrix=self.task_matrix,
            online=self.online,
            loss_matrix=self.loss_matrix,
            bits_matrix=self.bits_matrix,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint stores of the position: all but `LOGGED`."""
        empty: dict[str, Any] = {name: [] for name in LOGGED}
        state = asdict(replace(self, **empty))
        return {name: value for name, value in state.items() if name not in LOGGED}
