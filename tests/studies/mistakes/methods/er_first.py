"""Experience replay that always replays the same slots of its memory."""

from __future__ import annotations

import torch

from gradinc.config.values import Count
from gradinc.core.memory import Reservoir
from gradinc.methods.er import ER


class FirstSlots(Reservoir):
    """A reservoir of which always the first slots are drawn."""

    def slots(self, count: int, random: torch.Generator, among: torch.Tensor | None = None) -> torch.Tensor | None:
        return None if count >= len(self) else torch.arange(count)


class ERFirst(ER):
    """A mistake: experience replay of the same slots every time"""

    def __init__(self, *, memory: Count = 500, replay: Count = 32) -> None:
        super().__init__(memory=memory, replay=replay)
        self.memory = FirstSlots()
