"""Micro-batches with a corrupted gradient, as from a faulty or hostile worker."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from gradinc.base.randomness import generator
from gradinc.core.passes import Passes
from gradinc.data.batch import Batch


class CorruptPasses(Passes):
    """Backward passes that corrupt the gradients of some micro-batches.

    The choice of corrupted micro-batches depends only on the seed and the place: no state is saved, and a restart does
    not change the choice. The place counts windows, not updates: if a rule makes no update from a window, the next
    window of the same update needs different random draws; otherwise the update might never be made.

    Args:
        prob: probability that a micro-batch's gradient is corrupted.
        scale: factor by which the corrupted gradient is too large.
        kind: ``scale`` multiplies the gradient by `scale`, ``flip`` also reverses its sign, and ``noise`` adds noise
            of `scale` times its norm.
        start, stop: the first update that may be corrupted, and the first update after them; None for no end.
    """

    def __init__(
        self,
        *arguments: Any,
        prob: float,
        scale: float,
        kind: Literal["scale", "flip", "noise"],
        start: int,
        stop: int | None,
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._prob, self._scale, self._kind = prob, scale, kind
        self._start, self._stop = start, math.inf if stop is None else stop

    @property
    def strikes(self) -> bool:
        """Return whether the gradient of the current micro-batch is corrupted."""
        place = self.place
        if not self._start <= place.updates < self._stop:
            return False
        return place.derived("corrupt", place.index) / 2**63 < self._prob

    def train(self, batch: Batch) -> Tensor:
        self.notes.add("corrupted", torch.tensor(float(self.strikes)))
        return super().train(batch)

    def collect(self, objective: Tensor, factor: float, batch: Batch, *, first: bool, norm: bool) -> Tensor | None:
        grad = self.weights.grad
        part = self.part(objective, factor, batch, grad if first else None)
        square = torch.dot(part, part) if norm else None
        if not first:
            grad.add_(part)
        return square

    def part(self, objective: Tensor, factor: float, batch: Batch, out: Tensor | None = None) -> Tensor:
        g = super().part(objective, factor, batch, out)
        if self.strikes:
            self._break(g)
        return g

    def _break(self, g: Tensor) -> None:
        """Corrupt the gradient of the current micro-batch, shape (P,), in place."""
        place = self.place
        if self._kind == "noise":
            random = generator(place.seed, "corruption", place.task, place.windows, place.index, device=g.device)
            noise = torch.randn(g.shape, generator=random, device=g.device, dtype=g.dtype)
            g.addcmul_(noise, g.norm() / math.sqrt(len(g)), value=self._scale)
        else:
            g.mul_(self._scale if self._kind == "scale" else -self._scale)
