"""A-GEM whose reference is the sum over the examples instead of their mean."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Count
from gradinc.core.episodes import batch_of
from gradinc.core.view import LearnerView
from gradinc.methods.agem import AGEM


class AGEMSum(AGEM):
    """A mistake without an effect: averaged GEM with the sum of the examples' gradients as its reference"""

    def __init__(self, *, memory: Count = 256, sample: Count = 256) -> None:
        super().__init__(memory=memory, sample=sample)

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if not self.memory:
            return
        rows = self.memory
        if self.chosen is not None:
            rows, self.chosen = {name: field[self.chosen] for name, field in rows.items()}, None
        ref = learner.gradient(batch_of(rows, self.task)).mul_(len(rows["y"]))
        square = torch.dot(ref, ref)
        if square > 0:
            g.addcmul_(ref, torch.dot(g, ref).clamp(max=0) / square, value=-1)
