r"""g + 2λ Ω (w − w*), with Ω the mean of |∂‖f(x)‖² / ∂w|.

$$ g \leftarrow g + 2\lambda\, \Omega \odot (w - w^*), \qquad \Omega = \mathbb{E}\left|\frac{\partial \lVert
f_w(x)\rVert^2}{\partial w}\right| $$
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from gradinc.config.values import Count, Fraction, Strength
from gradinc.core.criterion import Criterion
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_outputs
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task

_ROWS = 128
"""Rows whose gradients are computed together."""


class MAS(Method):
    """Memory aware synapses: penalise changes of weights that affect outputs

    Paper: Aljundi et al. 2018, arXiv 1711.09601
    Title: Memory Aware Synapses: Learning what (not) to forget
    Authors: Rahaf Aljundi, Francesca Babiloni, Mohamed Elhoseiny, Marcus Rohrbach, Tinne Tuytelaars
    Limits: Needs no labels for its importance. As with every penalty on weights, nothing compares old classes with new
        ones, so little is to be expected in class-incremental streams.

    Importance needs no labels: it is the mean over rows of the absolute derivative of the outputs' squared norm by each
    weight, computed for each row in evaluation mode. Outputs that the criterion masks for the task do not count, for
    example other tasks' outputs if the task is known. The importance of all tasks adds up. The penalty is λ Σ Ω (w −
    w*)².

    Args:
        strength: λ.
        rows: random training rows of a task for the importance; null uses all.
        batch: rows whose gradients are averaged before the absolute value; 1 in the paper, 128 in the program of Hsu
            et al. 2018 (arXiv 1810.12488), 10 in the program of Chaudhry et al. 2019 (arXiv 1812.00420).
        outputs: sum uses the squared norm of the outputs, mean divides it by their number, as Hsu et al. do.
        gamma: factor of the old importance at each task; 0, only the latest task, in the program of Chaudhry et al.
    """

    state = ("importance", "anchor")
    needs_past = True
    reads_task = True

    def __init__(
        self,
        *,
        strength: Strength = 0.1,
        rows: Count | None = 1024,
        batch: Count = 1,
        outputs: Literal["sum", "mean"] = "sum",
        gamma: Fraction = 1.0,
    ) -> None:
        self.strength, self.rows, self.size, self.outputs, self.gamma = strength, rows, batch, outputs, gamma
        self.by_row = batch == 1
        self.importance: Tensor | None = None  # Ω, shape (P,)
        self.anchor = torch.empty(0)  # w*, shape (P,)

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_outputs("mas", setting)

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if self.importance is not None:
            force = self.importance * (learner.weights.value - self.anchor)
            g.add_(force, alpha=2 * self.strength)
            learner.note("penalty_gradient", 2 * self.strength * force.norm())

    def end(self, task: Task, learner: LearnerView) -> None:
        new = self._importance(task, learner)
        self.importance = new if self.importance is None else self.importance * self.gamma + new
        self.anchor = learner.weights.value.clone()

    def _importance(self, task: Task, learner: LearnerView) -> Tensor:
        """Return the mean over rows of the absolute gradients, shape (P,)."""
        total, rows = torch.zeros_like(learner.weights.value), 0.0
        objective = partial(_squares, criterion=learner.criterion, outputs=self.outputs)
        for batch in task.batches(_ROWS if self.by_row else self.size, rows=self.rows, random=learner.rng("mas")):
            if self.by_row:
                for grads in learner.row_gradients(batch, objective, evaluated=True):
                    grads.add_magnitudes(total)
            else:
                total += learner.gradient(batch, objective, evaluated=True).abs_() * len(batch.x)
            rows += len(batch.x)
        return total.div_(rows)


def _squares(batch: Batch, out: Tensor, criterion: Criterion, outputs: str) -> Tensor:
    """Return the sum or the mean of each row's squared outputs that count, shape (rows,)."""
    counted = criterion.seen(batch, out).isfinite()
    squares = torch.where(counted, out, 0).square().sum(1)
    return squares if outputs == "sum" else squares / counted.sum(1)
