r"""Δ U Uᵀ for each layer's update Δ, with U the null space of the covariance of the layer's inputs in past tasks.

$$ \Delta_\ell \leftarrow \Delta_\ell\, U_\ell U_\ell^\top, \qquad U_\ell \text{ spans the null space of }
\textstyle\sum_{\text{past}} x_\ell x_\ell^\top $$
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

from annotated_types import Ge
from torch import Tensor, nn

from gradinc.config.values import Count
from gradinc.core.layer_inputs import check_matrix_layers, second_moments
from gradinc.core.linalg import small_directions
from gradinc.core.method import Method
from gradinc.core.normalization import hold_statistics, norm_weights
from gradinc.core.passes import ROWS_TOGETHER
from gradinc.core.subspaces import confine, inside, note_free
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class AdamNSCL(Method):
    """Any optimizer in the null space of past inputs: the step is projected

    Paper: Wang et al. 2021, arXiv 2103.07113
    Title: Training Networks in Null Space of Feature Covariance for Continual Learning
    Authors: Shipeng Wang, Xiaorong Li, Jian Sun, Zongben Xu
    Limits: Stores no rows, and works on linear and plain convolutional layers only. The null space of the inputs
        becomes smaller with each task.

    The covariance is not centred: Σ x xᵀ over the rows of all past tasks, divided by their number. The null space has
    the eigenvalues up to a multiple of the smallest. The authors' program uses the mean inputs of batches as x, which
    `means` selects. The program also divides the projection by its norm, which is not done here. A bias has the input
    1. Weights and statistics of normalisations stay unchanged after the first task; the paper trains them with a
    penalty. An output layer with separate rows for each task is not protected.

    Args:
        ratio: largest eigenvalue of the null space, as a multiple of the smallest eigenvalue.
        rows: random training rows of a task for the covariance; null uses all.
        means: rows of a batch whose mean input x̄ is used as x, at each position of a convolution: 32 or 16 in the
            authors' program, its training batches; null uses each row's own inputs.
    """

    state = ("moments", "bases", "still", "rows_seen")
    role = "confines"
    needs_past = True
    rests = "weights and statistics"
    reads_task = True

    def __init__(
        self,
        *,
        ratio: Annotated[float, Ge(1)] = 10.0,
        rows: Count | None = 1024,
        means: Count | None = None,
    ) -> None:
        self.ratio, self.rows, self.means = ratio, rows, means
        self.moments: dict[str, Tensor] = {}  # Σ x xᵀ / rows of each layer, float64, shape (n, n)
        self.bases: dict[str, Tensor] = {}  # U of each layer, orthonormal columns, shape (n, r)
        self.still: list[str] = []  # weights of normalisations
        self.rows_seen = 0.0
        self.before: Tensor | None = None

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_matrix_layers("adam_nscl", model)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if self.bases:
            hold_statistics(learner.model)
        return batch

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if self.bases:
            self.before = learner.weights.value.clone()

    def stepped(self, window: Window, learner: LearnerView) -> None:
        if self.before is None:
            return
        weights, update = learner.weights.value, learner.weights.value - self.before
        confine(update, learner, {name: partial(inside, u=u) for name, u in self.bases.items()}, self.still)
        weights.copy_(self.before.add_(update))
        self.before = None

    def end(self, task: Task, learner: LearnerView) -> None:
        batches = task.batches(self.means or ROWS_TOGETHER, rows=self.rows, random=learner.rng("adam_nscl"))
        moments, rows = second_moments(learner, batches, means=self.means is not None)
        share = rows / (self.rows_seen + rows)
        for name, moment in moments.items():
            mean = moment / rows
            self.moments[name] = mean if name not in self.moments else self.moments[name].lerp(mean, share)
            self.bases[name] = small_directions(self.moments[name], self.ratio).to(learner.weights.value)
        self.rows_seen += rows
        self.still = norm_weights(learner)
        note_free(learner, {name: u.shape[1] / u.shape[0] for name, u in self.bases.items()})
