"""The learning rate grows with the micro-batches of a window where that is asked for."""

from __future__ import annotations

import torch
from learners import learner, members, update

from gradinc.core.rate import SCALES


def test_the_learning_rate_is_scaled_by_the_micro_batches_of_the_window():
    by_hand, scaled = learner(lr=0.4), learner(lr=0.1)
    scaled.rate.scale = SCALES["linear"]
    for first in (0, 100, 200):
        for mine in (by_hand, scaled):
            update(mine, members((25,) * 4, first=first))
    assert torch.allclose(scaled.weights.value, by_hand.weights.value, rtol=1e-12)
    assert SCALES["sqrt"](4) == 2
    assert SCALES["none"](4) == 1
