"""DER++ with one draw of the memory for both of its terms."""

from __future__ import annotations

from torch import Tensor

from gradinc.config.values import Count, Strength
from gradinc.core.rehearsal import distance_from_stored, replay
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.methods.derpp import DERPP


class DERPPOneDraw(DERPP):
    """A mistake: DER++ with the same rows for the outputs and for the labels"""

    def __init__(self, *, memory: Count = 500, replay: Count = 32, alpha: Strength = 0.5, beta: Strength = 0.5) -> None:
        super().__init__(memory=memory, replay=replay, alpha=alpha, beta=beta)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        return replay(batch, self.memory, self.replay, learner, "derpp_logits", weight=0.0)

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        if "derpp_logits" not in batch.parts:
            return out.new_zeros(())
        rows, own = batch.part("derpp_logits", out)
        return self.alpha * distance_from_stored(rows, own, learner) + self.beta * learner.criterion.mean(rows, own)
