"""The learner that `gradinc.attach` returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from gradinc.base.errors import UserError
from gradinc.config.schema import WindowSection
from gradinc.core.criterion import with_terms
from gradinc.core.learner import Learner
from gradinc.core.plan import extent
from gradinc.data.batch import Batch, items_of
from gradinc.data.rows import OutlinedRows, Rows, TensorRows
from gradinc.data.task import Setting, Task


class Attached:
    """The updates of a strategy: `step` takes a micro-batch, and makes an update at the end of each window.

    Attributes:
        net: the network.
        optimizer: the optimizer.
        taken: micro-batches of the current task so far.
    """

    def __init__(self, learner: Learner, window: WindowSection, setting: Setting, tasks: int | None) -> None:
        self.net, self.optimizer = learner.model, learner.optimizer
        self.taken = 0
        self._learner, self._window, self._setting, self._tasks = learner, window, setting, tasks
        self._task: Task | None = None
        self._begun = 0  # tasks begun
        self._resumes = False  # whether the next task was begun before the state was saved
        self._first = self._length = self._rows = 0  # where the open window began in its epoch; the epoch's sizes

    @property
    def updates(self) -> int:
        """Number of updates made so far."""
        return self._learner.updates

    def task(
        self, rows: DataLoader[Any] | Dataset[Any] | tuple[Tensor, Tensor] | None = None
    ) -> AbstractContextManager[Task]:
        """Begin a task; its end makes the update of a window that is still open, and lets the methods look back.

        Args:
            rows: the task's training rows as `step` gets them: tensors ``(x, y)``, a Dataset, or a DataLoader, whose
                length also tells where an epoch ends, so that its short last window makes an update too. None for
                strategies that do not look at a task's rows again.

        Raises:
            gradinc.UserError: another task is open, or there are more tasks than `gradinc.attach` was told.
        """
        return self._in_task(rows)

    @contextmanager
    def _in_task(self, given: Any) -> Iterator[Task]:
        if self._task is not None:
            raise UserError("learner.task", "another task is open, or step was called before it", "End it first")
        if self._tasks is not None and self._begun - self._resumes >= self._tasks:
            raise UserError("learner.task", f"attach was told of {self._tasks} tasks", "Give attach more tasks")
        self._begin(given)
        assert self._task is not None
        yield self._task
        self.flush()
        self._learner.end(self._task)
        self._task = None

    def step(self, x: Tensor, y: Tensor) -> bool:
        """Train on a micro-batch, in the network's mode of training; return whether an update was made.

        Args:
            x: inputs, shape (rows, …), on the network's device.
            y: labels, shape (rows,), or targets, shape (rows, targets).

        Raises:
            gradinc.UserError: the network was moved after `gradinc.attach`, or the batch is empty.
            gradinc.core.finite.Diverged: the loss is not finite.
        """
        learner = self._learner
        if self._task is None:
            self._begin(None)
        if (moved := learner.weights.rejoined()) is not None:
            raise UserError("net", f"was moved or converted after attach ({moved})", "Attach after net.to(…)")
        if all(p.grad is None for group in self.optimizer.param_groups for p in group["params"]):
            raise UserError("optimizer.zero_grad", "removed the gradients' vector", "Leave it out: step clears it")
        if len(x) == 0:
            raise UserError("learner.step", "the batch has no rows", "Give at least one")
        assert self._task is not None
        terms = learner.criterion.terms(y)
        batch = Batch(x, y, self._task.index, items_of(len(y), None, terms), terms=terms)
        opened = learner.window.taken > 0 or self._open(batch) > 0
        self.taken += 1
        if not opened:  # `last=drop` leaves out the short last window of an epoch
            return False
        learner.take(batch)
        return learner.update() if learner.window.taken == learner.window.size else False

    def flush(self) -> bool:
        """Make the update of a window that is still open; return whether an update was made."""
        if self._learner.window.taken == 0:
            return False
        self._learner.window.ends = True
        return self._learner.update()

    def evaluating(self) -> AbstractContextManager[None]:
        """Use the weights that the strategy measures, such as Lookahead's slow weights, inside."""
        return self._learner.evaluating()

    def numbers(self) -> dict[str, Any]:
        """Return the mean loss since the last call, and what the methods report; waits for a GPU."""
        return self._learner.drain()

    def state_dict(self) -> dict[str, Any]:
        """Return all that a restart needs, at any place between two steps: weights, optimizer, methods, window."""
        inside = [self._begun, self._task is not None, self.taken, self._first]
        return {"learner": self._learner.state_dict(), "inside": inside}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the result of `state_dict`, before `task`.

        If it was saved in a task, open this task again with the same rows; it is then not begun a second time.
        `taken` is the number of its micro-batches that `step` had.
        """
        self._learner.load_state_dict(state["learner"])
        self._begun, self._resumes, self.taken, self._first = state["inside"]
        self._task = None

    def _begin(self, given: Any) -> None:
        index = self._begun - self._resumes
        self._length, self._rows = _sizes(given)
        rows = _rows(given, self._learner.weights.value.device)
        none = OutlinedRows(torch.zeros(0, dtype=torch.int64), rows.shape)
        task = Task(index, _labels(rows.y), rows, none, none, replace(self._setting, shape=rows.shape))
        self._task = with_terms(task, self._learner.criterion)
        if not self._resumes:
            self.taken = self._first = 0
            self._learner.begin(self._task)
            self._begun += 1
        self._resumes = False

    def _open(self, batch: Batch) -> int:
        """Open a window with its planned number of micro-batches and items; return this number, 0 for no window."""
        learner, window = self._learner, self._window
        size = learner.window.due.size(learner.updates, window.size, len(batch.y))
        self._first = self.taken % self._length if self._length else 0
        count = extent(self._first, self._length, size, window.last) if self._length else size
        if count:
            end = self._first + count
            whole = batch.terms is not None or not self._length or end < self._length
            items = count * batch.items if whole else self._rows - self._first * len(batch.y)
            ends = bool(self._length) and extent(end, self._length, size, window.last) == 0
            learner.open(items, count, ends=ends)
        return count


class _NoRows(OutlinedRows):
    """The rows of a task that the program did not give."""

    def __init__(self) -> None:
        super().__init__(torch.zeros(0, dtype=torch.int64), ())

    def batches(self, order: Tensor, batch_size: int, start: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        raise UserError("learner.task", "the strategy reads a task's rows again", "Give them: learner.task(loader)")


def _sizes(given: Any) -> tuple[int, int]:
    """Return the micro-batches and the rows of an epoch, or zeros if they are not known."""
    if not isinstance(given, DataLoader) or given.batch_size is None or not hasattr(given.dataset, "__len__"):
        return 0, 0
    return len(given), min(len(given.dataset), len(given) * given.batch_size)


def _rows(given: Any, device: torch.device) -> Rows:
    if given is None:
        return _NoRows()
    data = given.dataset if isinstance(given, DataLoader) else given
    if isinstance(data, TensorDataset):
        data = data.tensors
    if isinstance(data, Dataset):
        items = [data[index] for index in range(len(data))]  # type: ignore[arg-type]
        data = tuple(torch.stack([torch.as_tensor(item[part]) for item in items]) for part in (0, 1))
    if not isinstance(data, Sequence) or len(data) != 2 or not all(isinstance(each, Tensor) for each in data):
        what = f"{type(given).__name__} has no rows of pairs (x, y)"
        raise UserError("learner.task", what, "Give tensors (x, y), a Dataset of pairs, or its DataLoader")
    x, y = data
    return TensorRows(x.to(device), y.to(device))


def _labels(y: Tensor) -> tuple[int, ...] | None:
    if y.ndim != 1 or y.is_floating_point() or len(y) == 0:
        return None
    return tuple(y.unique().tolist())
