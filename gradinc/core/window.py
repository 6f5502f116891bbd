"""The micro-batches of one update: how many there are, and where their gradients are collected."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from gradinc.core.criterion import Criterion
from gradinc.core.due import Due
from gradinc.core.rule import Rule
from gradinc.core.spread import Spread
from gradinc.core.state import Declared, expect
from gradinc.core.view import LearnerView
from gradinc.core.weights import Weights
from gradinc.data.batch import Batch


class Window:
    """The micro-batches of one update.

    Args:
        keeps: whether the batches are stored for a method that rereads them.
        notes: whether the noise among its micro-batches is noted for the log.

    Attributes:
        weights: their gradient is the window's after `reduce`.
        rule: combines the micro-batches' gradients into one.
        due: decides the number of micro-batches.
        taken: micro-batches so far.
        items: Σ of the micro-batches' items: terms of the loss, times their weights.
        size: planned number of micro-batches.
        planned: planned Σ of the items; 1 if the rows of the stream have none.
        ends: whether the window is the epoch's last.
        batches: the micro-batches, if stored.
        outputs: the model's outputs for them, detached, shape (rows, outputs) each.
    """

    def __init__(self, weights: Weights, rule: Rule, due: Due, *, keeps: bool = False, notes: bool = False) -> None:
        self.weights, self.rule, self.due, self.keeps = weights, rule, due, keeps
        self._spread = Spread(due, notes=notes)
        self._declared = Declared({"rule": rule, "due": due}, weights.value)
        self.taken = self.size = 0
        self.items = self.planned = 0.0
        self.ends = False
        self.batches: list[Batch] = []
        self.outputs: list[Tensor] = []
        self._unfinished: Rule | None = None  # the rule before its `reduce`

    def open(self, planned: float, size: int, *, ends: bool = False) -> None:
        """Begin an update with a planned number of micro-batches and planned items.

        Args:
            ends: whether no other window follows in the epoch.
        """
        self.size, self.planned, self.ends = size, planned or 1.0, ends
        self.weights.open(size)
        self.rule.open(self.weights.value, size)

    def collect(self, objective: Tensor, batch: Batch, out: Tensor, learner: LearnerView) -> None:
        """Add a micro-batch by the backward pass of its objective, a scalar, summed over its rows."""
        if self.size == 1:
            self.planned = batch.items or 1.0  # with the replayed rows, so that the gradient needs no correction
        factor = self.rule.factor(batch.items, self.planned)
        self.rule.collect(objective, factor, batch, learner, self.taken, self._spread)
        self.taken += 1
        self.items += batch.items
        if self.keeps:
            self.batches.append(batch)
            self.outputs.append(out.detach())

    def reduce(self, learner: LearnerView) -> bool:
        """Finish the gradient of the window, in place; return whether an update follows."""
        if not learner.place.world.alone:
            self._gather(learner)
        if self.keeps:
            self._unfinished = copy.copy(self.rule)
        if self.items == 0:  # no row of the window has a loss
            return False
        if self._spread.keeps:
            self._spread.observe(self.weights, self.items, self.taken, learner)
        if self.rule.is_sum(self.items, self.planned):
            return True
        return self.rule.reduce(self.weights.grad, self.items, self.planned)

    def again(self, learner: LearnerView) -> Tensor:
        """Return the gradient of the window at the current weights, shape (P,), from the stored batches."""
        rule = copy.copy(self._unfinished)
        if rule is None:
            raise RuntimeError("a window's gradient is recomputed before it was computed")
        place, work = learner.place, learner.passes.work
        total = torch.zeros_like(self.weights.grad)
        work.mark()
        rule.open(total, self.size)
        taken = place.member
        for place.member, batch in enumerate(self.batches):
            rule.collect_again(batch, rule.factor(batch.items, self.planned), learner, total)
        place.member = taken
        place.world.sum_(total)
        work.share()
        rule.reduce(total, self.items, self.planned)
        return total

    def loss(self, criterion: Criterion) -> Tensor:
        """Return Σᵢ cᵢ ℓᵢ over the stored micro-batches, when they were trained on, a scalar."""
        total = self.weights.value.new_zeros(())
        for batch, out in zip(self.batches, self.outputs, strict=True):
            total = total + criterion.total(batch, out)
        return total

    def close(self) -> None:
        """Remove the micro-batches of the finished update."""
        self.taken, self.items = 0, 0.0
        self.batches.clear()
        self.outputs.clear()
        if self._spread.keeps:
            self._spread.clear()
        self._unfinished = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of rule and due, and inside a window its gradient and micro-batches."""
        inside = {
            "grad": self.weights.grad,
            "counts": [self.taken, self.items, self.size, self.planned, self.ends],
            "batches": [batch.state() for batch in self.batches],
            "outputs": list(self.outputs),
            "spread": self._spread.state_dict(),
        }
        return {**self._declared.state_dict(), "inside": inside if self.taken else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the result of `state_dict`."""
        inside = state["inside"]
        self._declared.load_state_dict({name: values for name, values in state.items() if name != "inside"})
        if inside is None:
            return
        expect("the window's gradient", inside["grad"], self.weights.grad)
        self.weights.grad.copy_(inside["grad"])
        self.taken, self.items, self.size, self.planned, self.ends = inside["counts"]
        self.batches = [Batch(*fields) for fields in inside["batches"]]
        self.outputs = list(inside["outputs"])
        if len(self.batches) != (self.taken if self.keeps else 0) or not 0 < self.taken <= self.size:
            raise ValueError(f"a window of {self.size} micro-batches has {len(self.batches)} of {self.taken}")
        self._spread.load_state_dict(inside["spread"])

    def _gather(self, learner: LearnerView) -> None:
        """Combine the parts of several processes into the whole window."""
        place = learner.place
        if self.taken == 0:  # a short window may have fewer micro-batches than there are processes
            self.weights.grad.zero_()
        place.world.sum_(self.weights.grad)
        self.items, self.taken = self.planned, self.size
        place.taken(self.size)
        self.weights.reached.add(place.task)
        learner.passes.work.share()
