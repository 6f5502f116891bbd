"""A-GEM whose reference is the sum over the examples instead of their mean."""

from __future__ import annotations

from torch import Tensor

from gradinc.config.values import Count
from gradinc.core.view import LearnerView
from gradinc.methods.agem import AGEM


class AGEMSum(AGEM):
    """A mistake without an effect: averaged GEM with the sum of the examples' gradients as its reference"""

    def __init__(self, *, memory: Count = 256, sample: Count = 256) -> None:
        super().__init__(memory=memory, sample=sample)

    def reference(self, learner: LearnerView) -> Tensor:
        return super().reference(learner).mul_(min(self.sample, len(self.memory["y"])))
