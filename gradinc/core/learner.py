"""The learner turns micro-batches into updates; nothing else calls ``backward`` or ``step``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gradinc.base.crash import crash_point
from gradinc.core.finite import FiniteCheck
from gradinc.core.method import MOVES, Method
from gradinc.core.passes import Passes
from gradinc.core.rate import Rate
from gradinc.core.state import Declared, Parameters
from gradinc.core.window import Window
from gradinc.core.work import BEFORE_ROWS
from gradinc.data.batch import Batch
from gradinc.data.task import Task


class Learner:
    """Turns micro-batches into updates: `take` collects the gradient of one, `update` steps at a window's end.

    Methods and rules may use only the attributes and functions of `gradinc.core.view.LearnerView`. Both functions raise
    `Diverged` if a loss or a gradient is not finite, before the weights change.

    Args:
        passes: the forward and backward passes of the model.
        rate: the optimizer with its learning rate.
        methods: the strategy's methods by name, in the order in which they act.
        online: whether the rows of the stream are also measured before they are trained on (`Criterion.prequential`).
        first, last: methods that act before and after `methods`, for example diagnostics; they may differ after a
            restart.
    """

    def __init__(
        self,
        passes: Passes,
        rate: Rate,
        window: Window,
        methods: Mapping[str, Method],
        *,
        online: bool = False,
        first: Mapping[str, Method] = {},
        last: Mapping[str, Method] = {},
    ) -> None:
        self.passes, self.rate, self.window = passes, rate, window
        self.named, self.methods = methods, tuple(methods.values())
        self.model, self.weights, self.criterion = passes.model, passes.weights, passes.criterion
        self.optimizer = rate.optimizer
        self.place, self.work, self.notes = passes.place, passes.work, passes.notes
        self.finite = FiniteCheck(self.weights, self.place)
        self.rng, self.update_rng, self.note = self.place.generator, self.place.update_generator, self.notes.add
        self.gradient, self.row_gradients = passes.gradient, passes.row_gradients
        self.input_gradient, self.outputs = passes.input_gradient, passes.outputs
        self._online = online
        self.around = {**first, **last}
        chain = [*first.values(), *self.methods, *last.values()]
        self._batch, self._loss = _hooks(chain, "batch"), _hooks(chain, "loss")
        self._transforms = _hooks(chain, "transform")
        # Methods that move the weights come first, so that the others see the final update; methods that replace
        # weights come last, because what they write is no step.
        self._stepped = _hooks(sorted(chain, key=_turn), "stepped")
        self._begins = _hooks(chain, "begin")
        self._ends = _hooks(sorted(chain, key=lambda method: method.role != "averages"), "end")
        self._saved: dict[str, Any] = {
            "model": Parameters(self.model),
            "optimizer": rate,
            "methods": Declared(methods, self.weights.value),
            "around": Declared(self.around, self.weights.value, optional=True),
            "window": window,
            "heads": self.weights,
            "place": self.place,
            "work": self.work,
            "log": self.notes,
        }

    def open(self, planned: float, size: int, *, ends: bool = False) -> None:
        """Begin a window (`Window.open`)."""
        self.work.open(self.place.world)
        self.window.open(planned, size, ends=ends)

    def take(self, batch: Batch) -> None:
        """Process one micro-batch: run both passes, and add its gradient to the window's gradient."""
        self.place.here = self.place.index
        self.work.tokens += 0 if batch.repeat else batch.tokens
        batch = self.announce(batch)
        out = self.passes.train(batch)
        objective = self.objective(batch, out)
        self.window.collect(objective, batch, out, self)
        self.notes.loss(self.finite.loss(objective), batch.items)
        if self._online and not batch.repeat:
            self.notes.online(self.criterion.prequential(batch, out), batch.fresh)
        if self.weights.heads:
            self.weights.reach(batch)
        self.work.samples += 0 if batch.repeat else batch.fresh
        self.place.taken(self.window.taken)

    @torch.no_grad()
    def update(self) -> bool:
        """Make the update of the window; return whether its rule made an update."""
        if made := self.window.reduce(self):
            self.transform()
            if self.weights.heads:
                self.weights.wake_heads()
            self.rate.set(self.place, self.work, self.window.taken)
            self.rate.step()
        self.finish(made)
        return made

    def transform(self) -> None:
        """Let the methods change the window's gradient, before the optimizer's step."""
        for transform in self._transforms:
            transform(self.weights.grad, self)

    def finish(self, made: bool) -> None:
        """End the window.

        Args:
            made: whether an update was made: the methods then act on it.
        """
        if made:
            for stepped in self._stepped:
                stepped(self.window, self)
            self.work.items += self.window.items
        self.window.close()
        self.weights.reached.clear()
        self.place.close(made)
        self.work.close(self.place.world)

    def announce(self, batch: Batch) -> Batch:
        """Let the methods choose the batch to train on; return it."""
        for hook in self._batch:
            batch = hook(batch, self)
        return batch

    def objective(self, batch: Batch, out: Tensor) -> Tensor:
        """Return Σᵢ cᵢ ℓᵢ + n Σ m.loss of a batch, a scalar, with the row weights c and the batch's items n."""
        total = self.criterion.total(batch, out)
        for hook in self._loss:
            total = total + batch.items * hook(batch, out, self)
        return total

    def replace_rate(self, rate: Rate) -> None:
        """Use another optimizer over the same weights from now on."""
        self.rate, self.optimizer, self._saved["optimizer"] = rate, rate.optimizer, rate

    @property
    def updates(self) -> int:
        """Number of updates made so far."""
        return self.place.updates

    @property
    def lr(self) -> float:
        """Learning rate of the current update."""
        return self.rate.now(self.place, self.work, max(1, self.window.taken))

    def regradient(self) -> Tensor:
        """Return the gradient of this window's own objective at the current weights, shape (P,)."""
        return self.window.again(self)

    @torch.no_grad()
    def window_loss(self) -> Tensor:
        """Return the mean loss of the window's rows when they were trained on, a scalar."""
        total = self.window.loss(self.criterion)
        self.place.world.sum_(total)
        return total / self.window.items

    def part(self, batch: Batch, factor: float, out: Tensor | None = None) -> Tensor:
        """Return the gradient of one micro-batch's objective times a factor, computed again, shape (P,)."""
        with self.passes.undisturbed(self.place.index):
            return self.passes.part(self.objective(batch, self.passes.forward(batch)), factor, batch, out)

    def begin(self, task: Task, *, restart: bool = False) -> None:
        """Call the methods' `begin`, before a task's first batch.

        Args:
            restart: reset the optimizer's state.
        """
        self.place.task, self.place.began = task.index, self.place.updates
        # The optimizer's running means of old gradients would move the weights out of a subspace that has shrunk since.
        if restart or (task.index > 0 and any(method.role == "confines" for method in self.methods)):
            self.optimizer.state.clear()
        for begin in self._begins:
            begin(task, self)
        self.work.began = self.work.opened = self.work.rows
        self.work.token_start = self.work.tokens

    def end(self, task: Task) -> None:
        """Call the methods' `end`, after a task's last batch."""
        self.work.ended = self.work.rows
        for end in self._ends:
            end(task, self)
            crash_point("method-ended")
        self.weights.reached.clear()  # heads that a method evaluated here must not move in the next window

    @contextmanager
    def evaluating(self, task: int | None = None) -> Iterator[None]:
        """Use the weights that a method provides for evaluation, if any; restore the training weights on exit.

        Args:
            task: the task of the rows, for methods with weights of their own for each task.
        """
        standing = self._standing(task)
        if standing is None:
            yield
            return
        before = self.weights.value.clone()
        self.weights.value.copy_(standing)
        try:
            yield
        finally:
            self.weights.value.copy_(before)

    def measured(self) -> dict[str, Tensor] | None:
        """Return a copy of the weights and buffers that evaluation uses, by their names in the model.

        None if evaluation uses the weights in training.
        """
        standing = self._standing()
        if standing is None or torch.equal(standing, self.weights.value):
            return None
        with self.evaluating():
            return {name: values.clone() for name, values in self.model.state_dict().items()}

    def _standing(self, task: int | None = None) -> Tensor | None:
        found = [weights for method in self.methods if (weights := method.standing(self, task)) is not None]
        return found[-1] if found else None

    def classifier(self) -> Callable[[Tensor], Tensor] | None:
        """Return the function that evaluation uses instead of the model, if a method provides one."""
        found = [function for method in self.methods if (function := method.classifier(self)) is not None]
        return found[-1] if found else None

    def drain(self) -> dict[str, Any]:
        """Return the numbers of a log line: the mean loss since the last line, and the methods' notes."""
        self.finite.weights()
        return self.notes.drain(self.place.world)

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a restart needs, at any boundary between micro-batches."""
        return {name: part.state_dict() for name, part in self._saved.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the result of `state_dict`."""
        if "work" not in state:
            raise ValueError(f"it {BEFORE_ROWS}")
        if missing := [name for name in self._saved if name not in state]:
            raise ValueError(f"it was saved without {', '.join(missing)}")
        for name, part in self._saved.items():
            part.load_state_dict(state[name])
        self.place.taken(self.window.taken)


def _turn(method: Method) -> int:
    return 0 if method.role in MOVES else 2 if method.role == "resets" else 1


def _hooks(chain: Iterable[Method], name: str) -> list[Any]:
    """Return the hook of this name of each method that overrides it."""
    return [getattr(m, name) for m in chain if getattr(type(m), name) is not getattr(Method, name)]
