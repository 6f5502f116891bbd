r"""g + α ∇ E ‖p(x; w − η g) − p*(x)‖ over rows of a memory, with p* the probabilities at the end of their task.

$$ g \leftarrow g + \alpha\, \nabla\, \mathbb{E}_{x \in M} \lVert p_{w - \eta g}(x) - p^*(x)\rVert $$
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch import Tensor

from gradinc.config.values import Count, Strength
from gradinc.core.episodes import batch_of
from gradinc.core.method import Method
from gradinc.core.rehearsal import drawn_slots
from gradinc.core.view import LearnerView
from gradinc.methods.fdr import FDR, distances


class FDRAhead(FDR):
    """Function-distance regularisation in two steps: loss, then distance

    Paper: Buzzega et al. 2020, arXiv 2004.07211, FDR of its program
    Title: Dark Experience for General Continual Learning: a Strong, Simple Baseline
    Authors: Pietro Buzzega, Matteo Boschini, Angelo Porrello, Davide Abati, Simone Calderara
    Limits: As ``fdr``. The step for the loss is plain gradient descent's, whatever the optimizer.

    The memory is that of ``fdr``. With plain gradient descent as optimizer, an update makes the two steps of the
    program, from which the published numbers of FDR with a memory are. In BatchNorm's statistics only the rows of the
    stream count.

    Args:
        memory: rows that it stores, in units of stream.memory_unit.
        replay: rows drawn for each window, without repetition, from the whole memory.
        alpha: α.
    """

    name = "fdr_ahead"
    batch, loss = Method.batch, Method.loss

    def __init__(self, *, memory: Count = 500, replay: Count = 32, alpha: Strength = 1.0) -> None:
        super().__init__(memory=memory, replay=replay, alpha=alpha)

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if len(self.memory) == 0:
            return
        stored = self.memory.rows(drawn_slots(self.memory, self.replay, learner.update_rng(self.name)))
        rows = replace(batch_of(stored, learner.place.task), kept={"softmax": stored["softmax"]})
        value = learner.weights.value
        now = value.clone()
        value.sub_(learner.lr * g)
        pull = learner.gradient(rows, partial(distances, learner=learner))
        value.copy_(now)
        g.add_(pull, alpha=self.alpha)
