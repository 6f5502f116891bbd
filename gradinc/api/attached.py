"""The update as an object in a loop of one's own: what `gradinc.attach` returns."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from gradinc.api.loaders import Served, pair, served
from gradinc.base.errors import UserError
from gradinc.base.text import counted
from gradinc.config.schema import Config
from gradinc.core.criterion import with_terms
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.core.plan import extent
from gradinc.core.rate import Rate
from gradinc.data.batch import Batch, items_of
from gradinc.data.rows import TensorRows
from gradinc.data.task import Setting, Task

IN_TASK = "Use `with learner.task(loader):`"


class Attached:
    """Updates a net from the micro-batches of a loop of one's own (`gradinc.attach`).

    Attributes:
        net: the net, as it was given.
        optimizer: the optimizer, as it was given or made by its name; only `step` and `flush` call it.
        taken: calls of `step` in the current task.
    """

    def __init__(self, learner: Learner, config: Config, setting: Setting) -> None:
        self.net: nn.Module = learner.model
        self.optimizer = learner.optimizer
        self.taken = 0
        self._learner, self._config, self._setting = learner, config, setting
        self._calls = 0  # calls of the current epoch
        self._served = Served()
        self._task: Task | None = None
        self._next = 0  # number of the next task
        self._resumed = False  # whether a state in the middle of a task was loaded
        self._drops = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in self.net.modules())

    # ---- the loop ----

    @contextmanager
    def task(self, loader: Any = None) -> Iterator[None]:
        """Train on one task inside. On exit a short last window makes its update, and the methods read the task's rows.

        An epoch has ``len(loader)`` calls of `step`; its last window may be short. If the length is not known, or the
        epoch ends early, call `flush` at its end. After an error inside, the task stays open and its end is not called.

        Args:
            loader: what the task is trained on: a ``DataLoader`` over a map-style data set, a list of batches (x, y),
                all rows (x, y), or a data set. `step` does not read it. None if no method reads the rows of tasks.

        Raises:
            gradinc.UserError: a task is open already, or a method needs rows that the loader does not give.
        """
        if self._task is not None and not self._resumed:
            raise UserError("learner.task", "another task is open, or step was called before it", "End it first")
        if not self._resumed and self._next >= (self._setting.tasks or math.inf):
            raise UserError("learner.task", f"attach was told of {self._setting.tasks} tasks", "Give attach more tasks")
        self._begin(loader)
        yield
        self.flush()
        assert self._task is not None
        self._learner.end(self._task)
        self._task, self._next, self.taken = None, self._next + 1, 0

    def step(self, x: Any, y: Any) -> bool:
        """Add the gradient of one micro-batch; make an update if it completes a window.

        Args:
            x: inputs, shape (rows, …); they are moved to the net's device.
            y: targets, shape (rows, …).

        Returns:
            Whether an update was made; step a scheduler of PyTorch then.

        Raises:
            gradinc.UserError: there is no task, and a method needs it; or the net's weights were replaced.
            Diverged: the loss is not finite.
        """
        self.check_net()
        if self._task is None or self._resumed:
            self._refuse_no_task()
        assert self._task is not None
        learner = self._learner
        device = learner.weights.value.device
        x, y = (value.to(device, non_blocking=True) for value in pair((x, y), "learner.step"))
        terms = learner.criterion.terms(y)
        batch = Batch(x, y, self._task.index, items_of(len(y), None, terms), terms=terms)
        ends = self._calls + 1 == self._length
        if learner.window.taken == 0 and not self._open(batch):  # the end of an epoch without a full window
            self._count(ends)
            return False
        with self._generators():
            learner.take(batch)
        self._count(ends)
        return self._update() if learner.window.taken == learner.window.size else False

    def flush(self) -> bool:
        """End the epoch: make the update of a window that is not full; return whether an update was made."""
        self._calls = 0
        if not self._learner.window.taken:
            return False
        self.check_net()
        self._learner.window.ends = True
        return self._update()

    def renew(self, optimizer: torch.optim.Optimizer) -> None:
        """Use another optimizer of PyTorch over the same parameters from now on, for example in each task."""
        self.optimizer = optimizer
        self._learner.replace_rate(Rate(optimizer, None))

    def evaluating(self) -> AbstractContextManager[None]:
        """Use the weights that a method provides for evaluation inside, for example Lookahead's slow weights."""
        return self._learner.evaluating()

    def numbers(self) -> dict[str, Any]:
        """Return the mean loss since the last call, and the methods' numbers under ``notes``."""
        return self._learner.drain()

    @property
    def updates(self) -> int:
        """Return the number of updates made so far."""
        return self._learner.updates

    # ---- state ----

    def state_dict(self) -> dict[str, Any]:
        """Return everything that a restart needs, also in the middle of a task and of a window: the net's weights, the
        optimizer's state, methods and their memories, and the position.

        As in PyTorch, its tensors are the live ones: save it, or copy it with ``copy.deepcopy``.
        """
        position = [self._next, self._calls, self.taken, self._task is not None]
        return {"learner": self._learner.state_dict(), "position": position}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from the result of `state_dict`, with a net, an optimizer and a strategy like those of the state.

        In the middle of a task, enter `task` again with the same loader and give `step` the batches after the first
        `taken` ones.

        Raises:
            gradinc.UserError: the state is of another net, optimizer or strategy.
        """
        self.check_net()
        try:
            state = copy.deepcopy(dict(state))
            self._next, self._calls, self.taken, opened = state["position"]
            self._learner.load_state_dict(state["learner"])
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            why = " ".join(str(error).split())
            fix = "Attach the same net, optimizer and strategy"
            raise UserError("learner.load_state_dict", f"the state is of another learner: {why}", fix) from error
        self._resumed = bool(opened)
        self._task = self._named(self._next) if opened else None

    # ---- inside ----

    @property
    def _length(self) -> int | None:
        return None if self._served.sizes is None else len(self._served.sizes)

    def _begin(self, loader: Any) -> None:
        learner = self._learner
        self.check_net()
        readers = [name for name, method in learner.named.items() if method.reads_task]
        self._served = found = served(loader, learner.weights.value.device)
        if readers and found.rows is None:
            what = f"the loader {found.why}, and {' and '.join(readers)} read{'s' * (len(readers) == 1)} a task's rows"
            raise UserError("learner.task", what, "Give learner.task(…) a DataLoader over a map-style data set")
        if self._config.strategy.window.last == "drop":
            self._check_drop(found)
        self._task = task = self._named(self._next)
        if self._resumed:
            self._resumed = False
            return
        self._calls = self.taken = 0
        learner.begin(task, restart=task.index > 0 and self._config.stream.restart == "optimizer")

    def _check_drop(self, found: Served) -> None:
        """Refuse ``last=drop`` for a loader whose short batches are not known, or which has no full window."""
        where, fix = "strategy.window.last=drop", "Give a DataLoader, or use last=flush"
        if found.sizes is None:
            raise UserError(where, "needs the length of an epoch, and the loader has none", fix)
        if found.whole is None:
            fix = "Give a DataLoader with batch_size=…, or use last=flush"
            raise UserError(where, "needs the rows of each batch, and the loader's sampler decides them", fix)
        size = self._learner.window.due.size(0, self._config.strategy.window.size, next(iter(found.sizes)) or 1)
        if found.whole < size:
            what = f"an epoch of the loader has {counted(found.whole, 'full batch')} for windows of {size}"
            raise UserError(where, f"{what}, so no update would be made", "Use last=flush or a smaller window")

    def _named(self, index: int) -> Task:
        device = self._learner.weights.value.device
        none = TensorRows(torch.empty(0, device=device), torch.empty(0, dtype=torch.int64, device=device))
        rows = none if self._served.rows is None else self._served.rows
        classes = None
        if rows.y.dim() == 1 and not rows.y.is_floating_point():
            classes = tuple(sorted(rows.y.unique().tolist()))
        setting = replace(self._setting, shape=None if rows is none else rows.shape)
        task = Task(index, classes, rows, none, none, setting)
        return task if rows is none else with_terms(task, self._learner.criterion)

    def _refuse_no_task(self) -> None:
        """Begin the only task, unless a method needs to know where tasks begin and end."""
        if self._resumed:
            raise UserError("learner.step", "the state was saved inside a task, and this call is outside", IN_TASK)
        for name, method in self._learner.named.items():
            if method.needs_past or method.reads_task or type(method).end is not Method.end:
                what = f"is called outside a task, and {name} needs to know where tasks begin and end"
                raise UserError("learner.step", what, IN_TASK)
        if self._next:
            raise UserError("learner.step", "is called between two tasks", IN_TASK)
        self._begin(None)

    def _open(self, batch: Batch) -> bool:
        """Open the window that begins with a batch; return False if the epoch's other batches are left out."""
        options, learner = self._config.strategy.window, self._learner
        length = self._served.whole if options.last == "drop" else self._length
        rows = next(iter(self._served.sizes or [0])) or len(batch.y)
        size = count = learner.window.due.size(learner.updates, options.size, rows)
        ends = False
        if length is not None:
            count = extent(self._calls, length, size, options.last)
            if count == 0:
                return False
            ends = extent(self._calls + count, length, size, options.last) == 0
        learner.open(self._planned(batch, count), count, ends=ends)
        return True

    def _planned(self, batch: Batch, count: int) -> float:
        """Return the items of a window: exactly, if the rows of its batches are known and each row is one term."""
        sizes = list(self._served.sizes or ())
        if sizes and batch.terms is None:
            own = [sizes[(self._calls + number) % len(sizes)] for number in range(count)]
            if all(own):
                return float(sum(own))
        return batch.items * count

    def _count(self, ends: bool) -> None:
        self.taken += 1
        self._calls = 0 if ends else self._calls + 1

    def _update(self) -> bool:
        with self._generators():
            return self._learner.update()

    def _generators(self) -> AbstractContextManager[Any]:
        """Dropout masks are drawn from PyTorch's default generators, whose states stay unchanged outside."""
        if not self._drops:
            return nullcontext()
        device = self._learner.weights.value.device
        return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])

    def check_net(self) -> None:
        """Refuse a net that is no longer what was attached."""
        if (name := self._learner.weights.rejoined()) is not None:
            what = (
                "is no longer what was attached: the net was moved, converted or frozen, or its weights were replaced"
            )
            raise UserError(f"net.{name}", what, "Do that first, then attach")
        if all(p.grad is None for group in self.optimizer.param_groups for p in group["params"]):
            raise UserError("optimizer.zero_grad", "removed the gradients' vector", "Leave it out: step clears it")
