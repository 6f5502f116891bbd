"""DER with the sum over outputs of the squared distance instead of the mean."""

from __future__ import annotations

from torch import Tensor

from gradinc.config.values import Count, Strength
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.methods.der import DER


class DERSum(DER):
    """A mistake: dark experience replay with the squared distance summed over outputs"""

    def __init__(self, *, memory: Count = 500, replay: Count = 32, alpha: Strength = 0.5) -> None:
        super().__init__(memory=memory, replay=replay, alpha=alpha)

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        return super().loss(batch, out, learner) * out.shape[1]
