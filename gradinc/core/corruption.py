"""Micro-batches whose gradient arrives broken, as from a faulty or hostile worker."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor

from gradinc.base.randomness import generator
from gradinc.core.passes import Passes
from gradinc.data.batch import Batch


class CorruptPasses(Passes):
    """Backward passes of which some micro-batches' gradients arrive broken.

    Which ones are struck is a function of the seed and the place, so that there is no state to save and a restart
    changes nothing. A window that its rule makes no update of is followed by another one for the same update: were its
    luck the same, no update would ever come. So windows are counted, not updates.

    Args:
        prob: probability that a micro-batch is struck.
        scale: how much too large its gradient becomes.
        kind: ``scale`` multiplies it by `scale`, ``flip`` turns it around besides, and ``noise`` adds noise
            `scale` times as long as it is.
        start, stop: the first update that may be struck, and the first one after; None has no end.
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
        """Whether the gradient of the micro-batch at hand arrives broken."""
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
        """Corrupt the gradient of the micro-batch at hand, shape (P,), in place."""
        place = self.place
        if self._kind == "noise":
            random = generator(place.seed, "corruption", place.task, place.windows, place.index, device=g.device)
            noise = torch.randn(g.shape, generator=random, device=g.device, dtype=g.dtype)
            g.addcmul_(noise, g.norm() / math.sqrt(len(g)), value=self._scale)
        else:
            g.mul_(self._scale if self._kind == "scale" else -self._scale)
