"""The learning rate of an update: the optimizer's own, times the schedule, times a factor for the window."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gradinc.core.place import Place
from gradinc.core.schedules import Schedule
from gradinc.core.state import alike, expect
from gradinc.core.stepper import stepper
from gradinc.core.work import Work

SCALES: dict[str, Callable[[int], float]] = {"none": lambda count: 1.0, "linear": float, "sqrt": math.sqrt}
"""Factors of the learning rate for a window of a number of micro-batches (Goyal et al. 2017, 1706.02677)."""


class Rate:
    """An optimizer with its learning rate over a run.

    Args:
        schedule: returns the factor of an update; None if the program that owns the optimizer sets its rate.
        scale: a name in `SCALES`.

    Attributes:
        scale: returns the factor of a window from its number of micro-batches.
        step: makes an update; without a schedule it is the optimizer's own function, with its hooks and counters.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, schedule: Schedule | None, scale: str = "none") -> None:
        self.optimizer = optimizer
        self.schedule, self.scale = schedule, SCALES[scale]
        self._bases: list[float] = [group["lr"] for group in optimizer.param_groups]
        self._steady = schedule is not None and schedule.steady and scale == "none"
        self._factor: float | None = None
        # A scheduler of PyTorch replaces the function on the optimizer, so it is looked up at every step.
        self.step: Callable[[], object] = stepper(optimizer) if schedule is not None else lambda: optimizer.step()

    def now(self, place: Place, work: Work, count: int) -> float:
        """Return the learning rate of the first parameter group for a window of `count` micro-batches."""
        if self.schedule is None:
            return float(self.optimizer.param_groups[0]["lr"])
        return self._bases[0] * self._at(place, work, count)

    def set(self, place: Place, work: Work, count: int) -> None:
        """Set the optimizer's learning rate for the update that is about to be made."""
        if self.schedule is None or (self._steady and self._factor is not None):
            return
        factor = self._at(place, work, count)
        if factor != self._factor:
            self._factor = factor
            for group, base in zip(self.optimizer.param_groups, self._bases, strict=True):
                group["lr"] = base * factor

    def state_dict(self) -> dict[str, Any]:
        """Return the optimizer's state."""
        return self.optimizer.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the optimizer's state; the next update sets its learning rate."""
        for group, saved in zip(self.optimizer.param_groups, state["param_groups"], strict=True):
            for name, value in group.items():
                if name != "params" and not alike(value, saved[name]):
                    raise TypeError(f"the optimizer's {name} is a {type(saved[name]).__name__}")
        self.optimizer.load_state_dict(state)
        for leaf, values in self.optimizer.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and value.dim():
                    expect(f"the optimizer's {name}", value, leaf)
                elif isinstance(
                    value, Tensor
                ):  # PyTorch counts steps on the CPU: on a GPU each step would wait for them
                    values[name] = value.cpu()
        self._factor = None

    def _at(self, place: Place, work: Work, count: int) -> float:
        assert self.schedule is not None
        return self.schedule(place.updates - place.began, place.task, *work.in_task) * self.scale(count)
