"""Experience replay from the latest rows."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Count
from gradinc.core.memory import Memory
from gradinc.methods.er import ER


class Latest(Memory):
    """A memory of the last rows of the stream."""

    def _choose(self, y: Tensor, tasks: Tensor) -> tuple[Tensor, Tensor]:
        sources = torch.arange(len(y))[-self.capacity :]
        return sources, (self.seen + sources) % self.capacity


class ERLatest(ER):
    """A mistake: experience replay from the latest rows of the stream"""

    def __init__(self, *, memory: Count = 500, replay: Count = 32) -> None:
        super().__init__(memory=memory, replay=replay)
        self.memory = Latest()
