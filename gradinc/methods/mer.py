r"""g = γ β Σ of the gradients of a step on B and of one on each row of M, one after another, s times.

$$ g = \gamma \beta \sum_{i=1}^{s} \sum_{j=0}^{r} g_{ij}, \quad g_{ij} = \nabla \ell_j\Big(w - \eta\,\beta \sum_{h<i}
\sum_l g_{hl} - \eta \sum_{l<j} g_{il}\Big), \quad \ell_0 = \ell(B),\ \ell_j = \ell(m_{ij}) $$
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from gradinc.config.values import Count, Kept, Positive
from gradinc.core.episodes import batch_of
from gradinc.core.memory import make_memory
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_memory, drawn_slots, fill, open_memory
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.task import Setting, Task


class MER(Method):
    """Meta-experience replay: a step for each row, averaged as in Reptile

    Paper: Riemer et al. 2019, arXiv 1810.11910, algorithm 1
    Title: Learning to Learn without Forgetting by Maximizing Transfer and Minimizing Interference
    Authors: Matthew Riemer, Ignacio Cases, Robert Ajemian, Miao Liu, Irina Rish, Yuhai Tu, Gerald Tesauro
    Limits: Each update makes `batches` × (`replay` + 1) small steps, one after another: far slower than ER.

    An update makes s = `batches` sequences of plain gradient steps with the learning rate η of the run: one on the
    window B, then one on each of `replay` stored rows. Each sequence begins where the one before it has left the
    weights, and β of its change is kept. The optimizer is given γ (w − w_s) / η as the gradient, with w_s the weights
    after all sequences; it is γ β times the sum of their gradients. With `optimizer=sgd optimizer.momentum=0` the
    update ends at w + γ (w_s − w). In the paper an update is for one new row: `data.batch_size=1` and a window of one.

    Args:
        memory: rows that it stores, in units of stream.memory_unit.
        replay: stored rows in each sequence, drawn without repetition; k − 1 in the paper. In the authors' program a
            row can be drawn more than once.
        batches: s, sequences of steps in an update, each with a draw of its own.
        beta: β, share of a sequence's change that is kept.
        gamma: γ, share of the change of all sequences that is kept.
        kind: selection of stored rows: reservoir, each row with the same probability; ring, the latest rows of each
            class of each task; balanced, random rows with the same number for each class.
    """

    state = ("memory",)
    rereads = True
    role = "recomputes"

    def __init__(
        self,
        *,
        memory: Count = 500,
        replay: Count = 10,
        batches: Count = 5,
        beta: Positive = 0.1,
        gamma: Positive = 1.0,
        kind: Kept = "reservoir",
    ) -> None:
        self.capacity, self.replay, self.batches, self.kind = memory, replay, batches, kind
        self.beta, self.gamma = beta, gamma
        self.memory = make_memory(kind)

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_memory("mer", self.kind, self.capacity, setting)

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, "mer")

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        w, lr, random = learner.weights.value, learner.lr, learner.update_rng("mer")
        before, way = w.clone(), torch.zeros_like(g)
        try:
            for index in range(self.batches):
                here = w.clone()
                for step in chain((learner.regradient() if index else g,), self._row_steps(learner, random)):
                    w.sub_(step, alpha=lr)
                    way.add_(step)
                w.copy_(torch.lerp(here, w, self.beta))
            g.copy_(way).mul_(self.beta * self.gamma)
        finally:
            w.copy_(before)

    def stepped(self, window: Window, learner: LearnerView) -> None:
        fill(self.memory, window)

    def _row_steps(self, learner: LearnerView, random: torch.Generator) -> Iterator[Tensor]:
        """Yield the gradient of each drawn row at the weights that the step before it has left."""
        if len(self.memory) == 0:
            return
        rows = batch_of(self.memory.rows(drawn_slots(self.memory, self.replay, random)), learner.place.task)
        for row in range(len(rows.x)):
            yield learner.gradient(rows.rows(row, row + 1))
