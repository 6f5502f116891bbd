"""A-GEM that adds the harmful component instead of removing it."""

from __future__ import annotations

from torch import Tensor

from gradinc.config.values import Count
from gradinc.core.view import LearnerView
from gradinc.methods.agem import AGEM


class AGEMSign(AGEM):
    """A mistake: averaged GEM with the wrong sign of the projection"""

    def __init__(self, *, memory: Count = 256, sample: Count = 256) -> None:
        super().__init__(memory=memory, sample=sample)

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        before = g.clone()
        super().transform(g, learner)
        g.copy_(2 * before - g)
