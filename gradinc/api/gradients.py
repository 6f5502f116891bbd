"""A strategy inside a trainer that makes the passes and the steps itself: it changes the window's gradient only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gradinc.api.attach import attached_parts
from gradinc.api.attached import Attached
from gradinc.base.errors import UserError
from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.data.batch import Batch

Forward = Callable[[nn.Module, Tensor], Tensor]
"""Function from a net and the inputs of rows to the net's outputs for them, shape (rows, …)."""

ATTACH = "Use gradinc.attach in a loop of your own"


class Gradients:
    """Changes the gradients that a trainer has collected in ``.grad``, before its optimizer's step.

    Args:
        net: the trainer's.
        optimizer: the trainer's, over all trainable parameters of the net.
        forward: how methods that read a task's rows run the net.
        words, keys: as for `gradinc.attach`.
    """

    def __init__(
        self,
        net: nn.Module,
        optimizer: torch.optim.Optimizer,
        forward: Forward,
        words: Sequence[str | Mapping[str, Any]],
        keys: Mapping[str, Any],
    ) -> None:
        adapter = _Adapter(net, forward)
        options = {"criterion": nn.functional.cross_entropy, **keys}
        own = {name: options.pop(name) for name in ("criterion", "terms", "tasks", "classes") if name in options}
        self._learner, config, setting = attached_parts(adapter, optimizer, words, options, **own)
        check_gradient_only(config, self._learner)
        self.attached = Attached(self._learner, config, setting)
        self._count = 0

    @property
    def reads_task(self) -> bool:
        """Return whether a method needs to know where tasks begin and end."""
        methods = self._learner.named.values()
        return any(m.needs_past or m.reads_task or type(m).end is not Method.end for m in methods)

    def begin(self) -> None:
        """Before the forward pass of a micro-batch."""
        if self._count == 0:
            learner = self._learner
            empty = learner.weights.value.new_empty(0)
            learner.place.taken(0)
            learner.open(1, 1)
            learner.announce(Batch(empty, empty, learner.place.task, 0))
        self._count += 1

    @torch.no_grad()
    def transform(self) -> None:
        """After the last backward pass of a window and before the optimizer's step."""
        learner = self._learner
        weights = learner.weights
        found = [p.grad for p in weights.parameters]
        with torch.no_grad():
            for view, grad in zip(weights.views(weights.grad), found, strict=True):
                if grad is None:
                    view.zero_()
                elif grad.data_ptr() != view.data_ptr():
                    view.copy_(grad)
        self.attached.check_net()
        learner.place.taken(max(1, self._count))
        learner.transform()

    @torch.no_grad()
    def stepped(self) -> None:
        """After the optimizer's step."""
        self._count = 0
        self._learner.finish(made=True)


class Hook:
    """A strategy over the trainings of one net in one or several trainers, one for each task.

    Args:
        words, forward, keys: as for `Gradients`.
    """

    def __init__(self, words: Sequence[str | Mapping[str, Any]], forward: Forward, keys: Mapping[str, Any]) -> None:
        self._words, self._forward, self._keys = words, forward, keys
        self._net: nn.Module | None = None
        self._gradients: Gradients | None = None
        self._rows: Any = None
        self._inside = False
        self._open: AbstractContextManager[None] | None = None

    @property
    def gradients(self) -> Gradients:
        """Return the gradients of the training that has started."""
        assert self._gradients is not None
        return self._gradients

    @contextmanager
    def task(self, rows: Any) -> Iterator[None]:
        """Train on one task inside (`Attached.task`)."""
        self._rows, self._inside, self._open = rows, True, None
        try:
            yield
            if self._open is not None:
                self._open.__exit__(None, None, None)
        finally:
            self._rows, self._inside, self._open = None, False, None

    def start(self, net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Begin or continue the current task in a trainer.

        Raises:
            UserError: the strategy does not fit, or needs to know the tasks.
        """
        if self._gradients is None:
            self._gradients, self._net = Gradients(net, optimizer, self._forward, self._words, self._keys), net
        elif self._net is net:
            self._gradients.attached.renew(optimizer)
        else:
            raise UserError("callback", "was in a trainer of another model before", "Make a new callback")
        if self._open is None:
            if not self._inside and self._gradients.reads_task:
                what = "has a strategy that needs to know where tasks begin and end"
                raise UserError("callback", what, "Train inside `with callback.task(rows):`")
            self._open = self._gradients.attached.task(self._rows)
            self._open.__enter__()
        net.zero_grad()  # the vector has the gradient of the last update, and trainers clear theirs before they start


def check_gradient_only(config: Config, learner: Learner) -> None:
    """Refuse strategies that need more than the window's gradient.

    Raises:
        UserError: there is such a part; the message names the way that can.
    """
    for name, method in learner.named.items():
        kind = type(method)
        why = None
        if kind.rereads or kind.role == "recomputes":
            why = "computes passes of the window again or stores its batches"
        elif kind.loss is not Method.loss:
            why = "adds a term to the loss"
        elif kind.batch is not Method.batch and kind.role not in ("steers", "confines"):
            why = "trains on other rows than the trainer's"
        if why is not None:
            raise UserError(f"strategy={name}", f"{why}, and a callback changes the window's gradient only", ATTACH)
    window = config.strategy.window
    if window.rule != "mean":
        what = "needs the gradient of each micro-batch, and a callback has the window's only"
        raise UserError(f"strategy.window.rule={window.rule}", what, ATTACH)
    if (window.size, window.due) != (1, "size") or window.layers:
        what = "is set, and in a trainer its own number of accumulation steps is the window"
        raise UserError("strategy.window", what, "Leave it out, or use gradinc.attach in a loop of your own")
    if config.corrupt.prob > 0:
        raise UserError("corrupt", "corrupts the gradient of each micro-batch", ATTACH)


class _Adapter(nn.Module):
    """A net whose forward pass is a function of one tensor."""

    def __init__(self, net: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.net, self._forward = net, forward

    def forward(self, x: Tensor) -> Tensor:
        return self._forward(self.net, x)
