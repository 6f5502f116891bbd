"""DER++ without its distance of outputs."""

from __future__ import annotations

from torch import Tensor

from gradinc.config.values import Count, Strength
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.methods.derpp import DERPP


class DERPPLabels(DERPP):
    """A mistake: DER++ without the term of the stored outputs"""

    def __init__(self, *, memory: Count = 500, replay: Count = 32, alpha: Strength = 0.5, beta: Strength = 0.5) -> None:
        super().__init__(memory=memory, replay=replay, alpha=alpha, beta=beta)

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        if "derpp_labels" not in batch.parts:
            return out.new_zeros(())
        return self.beta * learner.criterion.mean(*batch.part("derpp_labels", out))
