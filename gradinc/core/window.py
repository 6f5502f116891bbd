"""The micro-batches of one update: which they are, and where their gradients go."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from gradinc.core.due import Due
from gradinc.core.rule import Rule, SeparateRule
from gradinc.data.batch import Batch

Last = Literal["flush", "carry", "drop"]


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a window that lies in one epoch.

    Attributes:
        first: number of its first micro-batch in the epoch, from 0.
        count: how many micro-batches it has.
        closes: whether an update follows its last one; else the window goes on in the next epoch.
    """

    first: int
    count: int
    closes: bool


def extent(first: int, length: int, size: int, last: Last) -> int:
    """Micro-batches of the window that opens before micro-batch `first` of an epoch of `length`.

    Returns:
        `size`; or, where the epoch is too short for that, what is left of it for ``flush``, and 0 for
        ``drop``. A window that is carried over the epoch's end has its full size.
    """
    if first + size <= length or last == "carry":
        return size
    return length - first if last == "flush" else 0


def plan(length: int, size: int, start: int = 0, last: Last = "flush") -> list[Span]:
    """How the micro-batches of an epoch fall into windows.

    Args:
        length: micro-batches in the epoch.
        size: micro-batches in a full window.
        start: micro-batches that an open window brought along from the epoch before; under ``size``.
        last: what becomes of a short last window: ``flush`` makes an update with what there is,
            ``carry`` lets the next epoch fill it, ``drop`` leaves its micro-batches out.

    Returns:
        Spans in order. They cover the epoch from 0 on without gaps, all of it but for ``drop``.
    """
    if not (length >= 0 and size >= 1 and 0 <= start < size):
        raise ValueError(f"plan({length=}, {size=}, {start=}): need length ≥ 0, size ≥ 1, 0 ≤ start < size")
    spans = []
    first, left = 0, size - start if start else 0  # what the open window still needs
    while first < length:
        left = left or extent(first, length, size, last)
        if left == 0:
            break
        count = min(left, length - first)
        # A window that came along and stays short is treated as one that opened here.
        closes = count == left or last == "flush"
        if closes or last == "carry":
            spans.append(Span(first, count, closes))
        first, left = first + count, 0
    return spans


class Window:
    """The micro-batches of one update.

    Args:
        keeps: whether the batches stay for a method that rereads them.
        measures: whether the norm of each micro-batch's gradient is taken.

    Attributes:
        rule: how their gradients become one.
        due: how many of them there are.
        taken: micro-batches so far.
        items: Σ of their row weights.
        fresh: rows of the stream among them.
        size: micro-batches that it is foreseen to have.
        planned: Σ of the row weights that it is foreseen to have.
        ends: whether an epoch ends with it, or leaves the rest of its micro-batches out.
        batches: the micro-batches, if it keeps them.
        outputs: what the model gave for them, detached, shape (rows, outputs) each.
        tasks: the tasks whose rows took part, where tasks have heads of their own.
        squares: ‖gₖ‖² of each micro-batch's mean gradient with its items, if its length goes by them; if it only
            measures, that of the first, which costs next to nothing.
        total: Σ of the row weights times the mean gradients, shape (P,), for a rule that does not add them up, where
            `squares` are taken.
        unfinished: the rule as it was before it made one gradient, for a method that rereads the window.
    """

    def __init__(self, rule: Rule, due: Due, *, keeps: bool = False, measures: bool = False) -> None:
        self.rule, self.due, self.keeps = rule, due, keeps
        self._measures = measures
        self.taken = 0
        self.items = 0.0
        self.fresh = 0
        self.size = 0
        self.planned = 0.0
        self.ends = False
        self.batches: list[Batch] = []
        self.outputs: list[Tensor] = []
        self.tasks: set[int] = set()
        self.squares: list[tuple[Tensor, float]] = []
        self.total: Tensor | None = None
        self._scale = 0.0  # Σ of the row weights times the factors of their micro-batches
        self.unfinished: Rule | None = None

    def open(self, planned: float, size: int, like: Tensor, *, ends: bool = False) -> None:
        """Begin an update that is foreseen to have so many micro-batches, with rows of this total weight."""
        self.size, self.planned, self.ends = size, planned, ends
        if isinstance(self.rule, SeparateRule):
            self.rule.open(like, size)

    def close(self) -> None:
        """Forget the micro-batches of the update that was made."""
        self.taken = self.fresh = 0
        self.items = self._scale = 0.0
        self.total = None
        self.batches.clear()
        self.outputs.clear()
        self.tasks.clear()
        self.squares.clear()
        self.unfinished = None

    def factor(self, items: float) -> float:
        """What the summed objective of the next micro-batch is multiplied by."""
        return self.rule.factor(items, self.planned)

    def add(self, batch: Batch, out: Tensor, factor: float) -> None:
        """Count a micro-batch whose backward pass is done, with what its objective was multiplied by."""
        self.taken += 1
        self.items += batch.items
        self.fresh += batch.fresh
        self._scale += factor * batch.items
        if self.keeps:
            self.batches.append(batch)
            self.outputs.append(out.detach())

    @property
    def measures(self) -> bool:
        """Whether it wants the norm of the next micro-batch's gradient."""
        first = self.taken == 0
        return (self.due.observes and (first or bool(self.squares))) or (self._measures and first)

    def measure(self, square: Tensor, share: float, items: float) -> None:
        """Keep the squared norm of a micro-batch's mean gradient.

        Args:
            square: that of the gradient times `share`.
        """
        self.squares.append((square / (share * share), items))

    def collect(self, part: Tensor, factor: float) -> None:
        """Add a micro-batch's gradient to the mean of a window whose rule does not add it up.

        Args:
            part: the gradient of its summed objective times `factor`, shape (P,).
        """
        if self.squares:
            self.total = part / factor if self.total is None else self.total.add_(part, alpha=1 / factor)

    def mean_square(self, grad: Tensor) -> Tensor:
        """‖ḡ‖² of the mean gradient over all rows of the window, whatever its rule makes of them; before `reduce`.

        Args:
            grad: what the backward passes have added up, shape (P,).
        """
        total, scale = (grad, self._scale) if self.total is None else (self.total, self.items)
        return torch.dot(total, total) / (scale * scale)

    def reduce(self, grad: Tensor) -> bool:
        """Finish the gradient of the window, shape (P,), in place; does an update follow?"""
        if self.keeps:
            self.unfinished = copy.copy(self.rule)
        return self.rule.reduce(grad, self.items, self.planned)

    def state_dict(self) -> dict[str, Any]:
        """What a restart inside this window needs, besides the gradient."""
        return {
            "taken": self.taken,
            "items": self.items,
            "size": self.size,
            "planned": self.planned,
            "ends": self.ends,
            "batches": [batch.state() for batch in self.batches],
            "outputs": list(self.outputs),
            "tasks": sorted(self.tasks),
            "squares": [[square, items] for square, items in self.squares],
            "fresh": self.fresh,
            "scale": self._scale,
            "total": self.total,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on inside the window that `state_dict` described."""
        self.taken, self.items = state["taken"], state["items"]
        self.size, self.planned, self.ends = state["size"], state["planned"], state["ends"]
        self.batches = [Batch(*fields) for fields in state["batches"]]
        self.outputs = list(state["outputs"])
        self.tasks = set(state["tasks"])
        self.squares = [(square, items) for square, items in state["squares"]]
        self.total = state.get("total")
        if "scale" in state:
            self.fresh, self._scale = state["fresh"], state["scale"]
        else:  # an older checkpoint, without the mean: this one window is not measured
            self.squares = []
        if len(self.batches) != (self.taken if self.keeps else 0) or not 0 < self.taken <= self.size:
            raise ValueError(f"a window of {self.size} micro-batches has {len(self.batches)} of {self.taken}")
