"""Experience replay that fills its memory and never replays it."""

from __future__ import annotations

from gradinc.config.values import Count
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.methods.er import ER


class ERUnused(ER):
    """A mistake: experience replay whose memory is never replayed"""

    def __init__(self, *, memory: Count = 500, replay: Count = 32) -> None:
        super().__init__(memory=memory, replay=replay)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        return batch
