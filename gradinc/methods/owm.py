r"""G P for each layer's gradient G, with P = (I + Σ x̄ x̄ᵀ / α)⁻¹ over the mean inputs x̄ of past tasks' batches.

$$ G_\ell \leftarrow G_\ell\, P_\ell, \qquad P_\ell = \left(I + \tfrac{1}{\alpha} \sum \bar x \bar x^\top\right)^{-1}
$$
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor, nn

from gradinc.config.values import Count, Positive
from gradinc.core.layer_inputs import check_matrix_layers, inputs_of
from gradinc.core.linalg import with_more_rows
from gradinc.core.method import Method
from gradinc.core.normalization import hold_statistics, norm_weights
from gradinc.core.subspaces import confine, note_free
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class OWM(Method):
    """Orthogonal weights modification: change orthogonally to past mean inputs

    Paper: Zeng et al. 2019, arXiv 1810.01256
    Title: Continual Learning of Context-dependent Processing in Neural Networks
    Authors: Guanxiong Zeng, Yang Chen, Bo Cui, Shan Yu
    Limits: Stores no rows, and works on linear and plain convolutional layers only. Each task takes directions away
        from later tasks.

    After a task its rows go through the model once more in batches, and recursive least squares adds their mean input
    to each layer's P; a convolution has a mean at each position. A bias has the input 1, so P has a row for it. Weights
    and statistics of normalisations stay unchanged after the first task. An output layer with separate rows for each
    task is not protected. P is as large as a layer's inputs squared.

    Args:
        alpha: α of a task's first batch; a smaller α protects inputs more.
        decay: share of α at a task's end: α of batch j of J is alpha · decay^(j/J).
        batch: rows of a batch.
        rows: random training rows of a task; null uses all.
    """

    state = ("inverses", "still")
    role = "confines"
    needs_past = True
    rests = "weights and statistics"
    reads_task = True

    def __init__(
        self, *, alpha: Positive = 1.0, decay: Positive = 0.001, batch: Count = 32, rows: Count | None = None
    ) -> None:
        self.alpha, self.decay, self.size, self.rows = alpha, decay, batch, rows
        self.inverses: dict[str, Tensor] = {}  # P of each layer, shape (n, n)
        self.still: list[str] = []  # weights of normalisations

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_matrix_layers("owm", model)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if self.inverses:
            hold_statistics(learner.model)
        return batch

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if not self.inverses:
            return
        confine(g, learner, {name: partial(torch.matmul, other=p) for name, p in self.inverses.items()}, self.still)

    def end(self, task: Task, learner: LearnerView) -> None:
        batches = -(-min(len(task.train), self.rows or len(task.train)) // self.size)
        inverses = {name: p.double() for name, p in self.inverses.items()}
        for j, batch in enumerate(task.batches(self.size, rows=self.rows, random=learner.rng("owm"))):
            alpha = self.alpha * self.decay ** (j / batches)
            for name, inputs in inputs_of(learner, batch).items():
                means = inputs.mean(0)
                p = inverses[name] if name in inverses else torch.eye(means.shape[1]).to(means)
                inverses[name] = with_more_rows(p, means, alpha)
        self.inverses = {name: p.to(learner.weights.value) for name, p in inverses.items()}
        self.still = norm_weights(learner)
        note_free(learner, {name: float(p.trace()) / len(p) for name, p in inverses.items()})
