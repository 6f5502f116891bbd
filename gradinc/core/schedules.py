"""The learning rate over a run: factors on ``optimizer.lr``, as pure functions of the update's number.

Each public function here is a name in ``schedule=…``. It receives the number of the next update,
counted from 0, and the number of updates of the whole run, if it is known or can be estimated from the used share of
the budget. Warm-up comes before every schedule: `Schedule` counts a schedule's updates from the end of warm-up.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any

from gradinc.base.errors import UserError
from gradinc.config.catalog import load_part
from gradinc.config.values import Count, Fraction, Positive

EVERY = 1000
"""Updates between two steps of ``schedule=step``, if nothing else is given."""


class Schedule:
    """A schedule with its options and its warm-up, which the learner calls before each update.

    Args:
        name: a public function of this module, or of another package that registers it.
        options: its options.
        warmup: updates over which the factor first rises, by equal steps, from 1 / (warmup + 1) to
            1; the update after the last of them is the first of the schedule itself.
        warmup_factor: the factor of all these updates, instead of a rising factor.
        updates: updates of a task with warm-up, or None if not known.
        rows: rows through the model after which a task ends, or None if rows do not end it. The number of updates
            is then estimated from the updates so far.
        task_factor: factor that each new task multiplies the factor by.
        task_floor: lower bound of this factor.

    Attributes:
        steady: whether the factor is always 1.

    Raises:
        UserError: the schedule needs to know the number of updates, and it is not known.
    """

    def __init__(
        self,
        name: str,
        options: Mapping[str, Any],
        *,
        warmup: int = 0,
        warmup_factor: float | None = None,
        updates: int | None = None,
        rows: int | None = None,
        task_factor: float = 1.0,
        task_floor: float = 0.0,
    ) -> None:
        self._task_factor, self._task_floor = task_factor, task_floor
        self._factor = load_part("schedule", name)
        self._options = dict(options)
        self._warmup, self._warmup_factor = warmup, warmup_factor
        self.steady = self._factor is constant and warmup == 0 and task_factor == 1
        self._updates, self._rows = updates, rows
        self(warmup)  # missing information raises an error here, not after hours of training

    def __call__(self, update: int, task: int = 0, rows: float = 0, before: float = 0) -> float:
        """Return the factor on the learning rate of an update, counted from 0 in its task.

        Args:
            rows: rows of its task that have gone through the model before it.
            before: the part of these rows before the first update.
        """
        of_task = max(self._task_factor**task, self._task_floor)
        if update < self._warmup:
            if self._warmup_factor is not None:
                return of_task * self._warmup_factor
            return of_task * (update + 1) / (self._warmup + 1)
        factor: float = self._factor(update - self._warmup, self._after_warmup(update, rows, before), **self._options)
        return of_task * factor

    def _after_warmup(self, update: int, rows: float, before: float) -> float | None:
        """Return the updates of a task after warm-up, as far as they can be known before an update."""
        known: list[float] = [] if self._updates is None else [self._updates]
        if self._rows is not None:  # extrapolated from the updates so far
            known.append(update * (self._rows - before) / (rows - before) if rows > before else math.inf)
        return max(1, min(known) - self._warmup) if known else None


def constant(update: int, updates: float | None) -> float:
    """The same learning rate in all updates"""
    return 1.0


def step(
    update: int,
    updates: float | None,
    *,
    every: Count = EVERY,
    milestones: list[Count] | None = None,
    gamma: Positive = 0.1,
) -> float:
    """The learning rate is multiplied by gamma at given updates

    Args:
        every: updates between two steps.
        milestones: the updates at which to step, instead of `every`, counted from the end of warm-up.
        gamma: factor of each step.
    """
    if every != EVERY and milestones is not None:
        what = "has no effect with schedule.milestones"
        raise UserError(f"schedule.every={every}", what, "Leave one of the two out")
    steps = update // every if milestones is None else bisect_right(sorted(milestones), update)
    return gamma**steps


def cosine(update: int, updates: float | None, *, final: Fraction = 0.0) -> float:
    """The learning rate falls along half a cosine wave

    Paper: Loshchilov & Hutter 2017, arXiv 1608.03983
    Title: SGDR: Stochastic Gradient Descent with Warm Restarts
    Authors: Ilya Loshchilov, Frank Hutter

    Args:
        final: share of the learning rate at the end of the run.

    Raises:
        UserError: the number of updates is not known.
    """
    return final + (1 - final) * (1 + math.cos(math.pi * _progress("cosine", update, updates))) / 2


def cosine_restarts(
    update: int,
    updates: float | None,
    *,
    first: Count = 1000,
    factor: Count = 1,
    final: Fraction = 0.0,
    every: Count = 1,
) -> float:
    """The learning rate falls along half a cosine wave again and again

    Paper: Loshchilov & Hutter 2017, arXiv 1608.03983
    Title: SGDR: Stochastic Gradient Descent with Warm Restarts
    Authors: Ilya Loshchilov, Frank Hutter

    Args:
        first: updates of the first wave.
        factor: length of each further wave over the length of the wave before it.
        final: share of the learning rate towards which each wave falls.
        every: updates between two steps of the learning rate, for example the updates of an epoch.
    """
    length = first
    if factor == 1:
        update %= length
    while update >= length:
        update, length = update - length, length * factor
    return final + (1 - final) * (1 + math.cos(math.pi * (update - update % every) / length)) / 2


def linear(update: int, updates: float | None, *, final: Fraction = 0.0) -> float:
    """The learning rate falls along a straight line

    Args:
        final: share of the learning rate at the end of the run.

    Raises:
        UserError: the number of updates is not known.
    """
    return 1 - (1 - final) * _progress("linear", update, updates)


def _progress(name: str, update: int, updates: float | None) -> float:
    """Return the share of a run's updates that are made, at most 1."""
    if updates is None:
        raise UserError(
            "schedule.updates",
            f"schedule={name} must know how many updates the run has, and this budget does not say",
            "Set schedule.updates=…, or a budget of epochs, steps, samples, rows or passes",
        )
    return min(1.0, update / updates)
