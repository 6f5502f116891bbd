"""What `forks` can plant into a life: a restart that forgets something, or things that last long or go wrong."""

from __future__ import annotations

import inspect
import os
import time
from pathlib import Path
from typing import Any

import torch

from gradinc.core.criterion import CrossEntropy
from gradinc.core.learner import Learner
from gradinc.data.rows import TensorRows
from gradinc.records import directory
from gradinc.records import log as record
from gradinc.runs import epoch, reading, run
from gradinc.runs.position import Position
from gradinc.runs.restore import Restored

_load = Learner.load_state_dict


def _loads(spoil: Any) -> None:
    """Have a learner's state spoilt by ``spoil(learner, state)`` after it was loaded."""

    def load_state_dict(self: Learner, state: dict[str, Any]) -> None:
        _load(self, state)
        spoil(self, state)

    Learner.load_state_dict = load_state_dict  # type: ignore[method-assign]


def forget_the_gradient() -> None:
    """The window's gradient so far."""
    _loads(lambda learner, state: learner.weights.grad.zero_())


def forget_the_window() -> None:
    """How many micro-batches of the window were taken."""
    _loads(lambda learner, state: learner.window.close())


def forget_the_optimizer() -> None:
    """Momentum."""
    _loads(lambda learner, state: learner.optimizer.state.clear())


def forget_the_buffers() -> None:
    """BatchNorm's running statistics and counters."""

    def spoil(learner: Learner, state: dict[str, Any]) -> None:
        for norm in (m for m in learner.model.modules() if isinstance(m, torch.nn.modules.batchnorm._NormBase)):
            norm.reset_running_stats()

    _loads(spoil)


def forget_the_updates() -> None:
    """The number that the schedule and the dropout masks go by."""
    _loads(lambda learner, state: setattr(learner.place, "updates", 0))


def forget_the_running_loss() -> None:
    """The loss that the next log line reports."""
    _loads(lambda learner, state: learner.drain())


def forget_the_methods() -> None:
    """The tensors that the methods declare as their state."""

    def spoil(learner: Learner, state: dict[str, Any]) -> None:
        for method, values in zip(learner.methods, state["methods"].values(), strict=True):
            for name, value in values.items():
                if isinstance(value, torch.Tensor):
                    getattr(method, name).zero_()

    _loads(spoil)


def forget_the_rule() -> None:
    """The gradients that a rule keeps apart."""

    def spoil(learner: Learner, state: dict[str, Any]) -> None:
        rule = learner.window.rule
        rule.gradients = torch.zeros_like(rule.gradients)

    _loads(spoil)


def forget_the_reservoir() -> None:
    """How many rows a memory was offered, by which it decides what to keep."""

    def spoil(learner: Learner, state: dict[str, Any]) -> None:
        for method in learner.methods:
            method.memory.seen = 0  # type: ignore[attr-defined]

    _loads(spoil)


def forget_the_matrix() -> None:
    """The accuracies on the tasks so far."""
    restore = run.restore

    def forget(*arguments: Any) -> Restored:
        restored = restore(*arguments)
        restored.position.matrix.clear()
        return restored

    run.restore = forget


def forget_the_heads() -> None:
    """The weights of the output layer."""

    def spoil(learner: Learner, state: dict[str, Any]) -> None:
        with torch.no_grad():
            list(learner.model.parameters())[-1].zero_()

    _loads(spoil)


def _positions(name: str) -> None:
    """Have every position begin at 0 of something."""
    begin = Position.__init__

    def __init__(self: Position, *values: Any, **named: Any) -> None:
        begin(self, *values, **named)
        setattr(self, name, 0)

    Position.__init__ = __init__  # type: ignore[method-assign]


def forget_the_epoch() -> None:
    """How many epochs are behind."""
    _positions("epoch")


def forget_the_batch() -> None:
    """How many micro-batches of the epoch are behind."""
    _positions("batch")


def forget_the_end_of_the_log() -> None:
    """Where the log was when the checkpoint was taken."""
    begin = record.Log.__init__

    def __init__(self: record.Log, path: Any, offset: int = 0, digest: str | None = None) -> None:
        begin(self, path, os.stat(path).st_size if os.path.exists(path) else 0)

    record.Log.__init__ = __init__  # type: ignore[method-assign]


def carry_a_generator() -> None:
    """Draw every order and augmentation from one generator that goes on and on, and is not saved."""
    generator = torch.Generator().manual_seed(0)
    epoch.generator = lambda *purpose, device="cpu": generator


def read_for_a_minute() -> None:
    """Reading the data takes a minute; the file ``reading`` says that it has begun."""

    def load(*arguments: Any) -> Any:
        Path("reading").touch()
        time.sleep(60)
        raise AssertionError("nobody stopped it")

    reading.load_dataset = load


def evaluate_slowly() -> None:
    """Measuring takes a second, 16 rows at a time; the file ``evaluations`` has a byte for each that has begun."""
    CrossEntropy.chunk = 16

    def chunks(self: TensorRows, size: int) -> Any:
        with open("evaluations", "ab") as file:
            file.write(b".")
        for first in range(0, len(self), size):
            time.sleep(1 / (len(self) // size + 1))
            yield self.x[first : first + size], self.y[first : first + size]

    TensorRows.chunks = chunks  # type: ignore[method-assign]


def read_until_told() -> None:
    """Reading the data makes the file ``reading`` and waits for a file ``go``."""
    load = reading.load_dataset

    def wait_and_load(*arguments: Any) -> Any:
        Path("reading").touch()
        while not Path("go").exists():
            time.sleep(0.002)
        return load(*arguments)

    reading.load_dataset = wait_and_load


def say_late_who_owns_it() -> None:
    """Between taking the lock and saying so goes some time; the file ``owned`` is made at its beginning."""
    write = directory.write_json

    def write_json(path: Path, value: Any) -> None:
        if path.name == "owner.json":
            Path("owned").touch()
            time.sleep(0.3)
        write(path, value)

    directory.write_json = write_json


FIFTH = 5
"""The update in which a number goes wrong."""


def a_loss_that_is_not_finite() -> None:
    """One row's loss is NaN in the fifth update."""
    total = CrossEntropy.total

    def spoilt(self: CrossEntropy, batch: Any, out: Any) -> Any:
        return total(self, batch, out) * (float("nan") if _updates() == FIFTH else 1.0)

    CrossEntropy.total = spoilt  # type: ignore[method-assign]


def a_gradient_that_is_not_finite() -> None:
    """One entry of the gradient is NaN in the fifth update."""
    _before_update(lambda learner: learner.weights.grad[7:8].fill_(float("nan")))


def a_gradient_without_end() -> None:
    """One entry of the gradient is infinite in the fifth update."""
    _before_update(lambda learner: learner.weights.grad[-1:].fill_(float("inf")))


def a_weight_that_is_not_finite() -> None:
    """The optimizer makes one weight infinite in the fifth update."""
    _after_update(lambda learner: learner.weights.value[7:8].fill_(float("inf")))


def _before_update(spoil: Any) -> None:
    update = Learner.update

    def spoilt(self: Learner) -> bool:
        if self.updates + 1 == FIFTH:
            spoil(self)
        return update(self)

    Learner.update = spoilt  # type: ignore[method-assign]


def _after_update(spoil: Any) -> None:
    update = Learner.update

    def spoilt(self: Learner) -> bool:
        done = update(self)
        if self.updates == FIFTH:
            with torch.no_grad():
                spoil(self)
        return done

    Learner.update = spoilt  # type: ignore[method-assign]


def _updates() -> int:
    """The number of the update that is being made, as the running learner has it."""
    frame = inspect.currentframe()
    while frame is not None and not isinstance(frame.f_locals.get("self"), Learner):
        frame = frame.f_back
    return 0 if frame is None else int(frame.f_locals["self"].updates) + 1


def no_memory_for_python() -> None:
    """Python has no memory left in the fifth update."""
    _before_update(lambda learner: _raise(MemoryError()))


def no_memory_on_the_device() -> None:
    """A GPU has no memory left in the fifth update."""
    _before_update(lambda learner: _raise(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")))


def _raise(error: Exception) -> None:
    raise error
