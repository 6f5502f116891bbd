"""A-GEM that does not divide by the square of the reference."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Count
from gradinc.core.view import LearnerView
from gradinc.methods.agem import AGEM


class AGEMUnscaled(AGEM):
    """A mistake: averaged GEM with g − (g·ref) ref, without the division by ref·ref"""

    def __init__(self, *, memory: Count = 256, sample: Count = 256) -> None:
        super().__init__(memory=memory, sample=sample)

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if not self.memory:
            return
        ref = self.reference(learner)
        g.addcmul_(ref, torch.dot(g, ref).clamp(max=0), value=-1)
