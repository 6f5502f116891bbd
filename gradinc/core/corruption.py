"""Micro-batches whose gradient arrives broken, as from a faulty or hostile worker."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

from gradinc.base.randomness import derive, generator

Kind = Literal["scale", "flip", "noise"]


class Corruption:
    """Which micro-batches of a run are struck, and what becomes of their gradients.

    A function of the seed and the position, so that it has no state to save and a restart changes nothing.

    Args:
        prob: probability that a micro-batch is struck.
        scale: how much too large its gradient becomes.
        kind: ``scale`` multiplies it by `scale`, ``flip`` turns it around besides, and ``noise`` adds noise
            `scale` times as long as it is.
        start, stop: the first update that may be struck, and the first one after; None has no end.
    """

    def __init__(self, prob: float, scale: float, kind: Kind, start: int, stop: int | None, seed: int) -> None:
        self._prob, self._scale, self._kind = prob, scale, kind
        self._start, self._stop, self._seed = start, math.inf if stop is None else stop, seed

    def strikes(self, task: int, update: int, window: int, member: int) -> bool:
        """Whether a micro-batch is struck, the one of this number in this window, for this update.

        A window that its rule makes no update of is followed by another one for the same update: were its luck
        the same, no update would ever come.
        """
        if not self._start <= update < self._stop:
            return False
        return derive(self._seed, "corrupt", task, window, member) / 2**63 < self._prob

    def apply(self, g: Tensor, task: int, window: int, member: int) -> None:
        """Corrupt the gradient of a micro-batch, shape (P,), in place."""
        if self._kind == "noise":
            random = generator(self._seed, "corruption", task, window, member, device=g.device)
            noise = torch.randn(g.shape, generator=random, device=g.device, dtype=g.dtype)
            g.addcmul_(noise, g.norm() / math.sqrt(len(g)), value=self._scale)
        else:
            g.mul_(self._scale if self._kind == "scale" else -self._scale)
