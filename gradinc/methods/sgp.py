r"""G − G U Λ Uᵀ for each layer's gradient G, with Λ the importance of the directions U of past tasks' inputs.

$$ G_\ell \leftarrow G_\ell - G_\ell\, U_\ell \Lambda_\ell U_\ell^\top $$
"""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from gradinc.config.values import Count, Fraction, NonNegative
from gradinc.core.layer_inputs import check_matrix_layers, second_moments
from gradinc.core.linalg import tiny
from gradinc.core.method import Method
from gradinc.core.normalization import hold_statistics, norm_weights
from gradinc.core.passes import ROWS_TOGETHER
from gradinc.core.subspaces import check_thresholds, confine, grown_bases, note_free, thresholds_of
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class SGP(Method):
    """Scaled gradient projection: change layers less along past tasks' inputs

    Paper: Saha & Roy 2023, arXiv 2302.01386

    The directions are GPM's. Each has an importance λ = (α + 1) σ / (α σ + max σ), with σ the length of the task's
    inputs along it; the importance of all tasks adds up, to 1 at most. A direction of importance 1 is never changed,
    like all directions of GPM; SGP becomes GPM for α → ∞ and inputs without zeros. Biases, normalisations and output
    layers are treated as in GPM.

    Args:
        threshold: share of the inputs' squared norm along the directions; one for all layers or one for each.
        increase: added to the threshold with each task; the authors' 0.97 and 0.003 are for ten tasks.
        alpha: α; with a larger α more directions count as important.
        rows: random training rows of a task for the directions.
    """

    state = ("bases", "importance", "still")
    role = "confines"
    needs_past = True
    rests = "weights and statistics"
    reads_task = True

    def __init__(
        self,
        *,
        threshold: Fraction | list[Fraction] = 0.95,
        increase: NonNegative = 0.0,
        alpha: NonNegative = 10.0,
        rows: Count = 300,
    ) -> None:
        self.threshold, self.increase, self.alpha, self.rows = threshold, increase, alpha, rows
        self.bases: dict[str, Tensor] = {}  # U of each layer, orthonormal columns, shape (n, r)
        self.importance: dict[str, Tensor] = {}  # λ of each layer, shape (r,)
        self.still: list[str] = []  # weights of normalisations

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_matrix_layers("sgp", model)
        check_thresholds("sgp", self.threshold, self.increase, model, setting)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if self.bases:
            hold_statistics(learner.model)
        return batch

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if not self.bases:
            return
        scaled = {name: partial(_scaled, u=u, importance=self.importance[name]) for name, u in self.bases.items()}
        confine(g, learner, scaled, self.still)

    def end(self, task: Task, learner: LearnerView) -> None:
        batches = task.batches(ROWS_TOGETHER, rows=self.rows, random=learner.rng("sgp"))
        moments, _ = second_moments(learner, batches)
        like = learner.weights.value
        thresholds = thresholds_of("sgp", self.threshold, learner.model, self.increase * task.index)
        for name, u in grown_bases(self.bases, moments, thresholds).items():
            sigma = (u * (moments[name] @ u)).sum(0).clamp(min=0).sqrt()
            largest = sigma.max() if len(sigma) else 0.0
            added = (self.alpha + 1) * sigma / (self.alpha * sigma + largest).clamp(min=tiny(sigma))
            if name in self.importance:
                added[: len(self.importance[name])] += self.importance[name]
            self.bases[name], self.importance[name] = u.to(like), added.clamp(max=1).to(like)
        self.still = norm_weights(learner)
        note_free(learner, {name: 1 - float(v.sum()) / len(self.bases[name]) for name, v in self.importance.items()})


def _scaled(matrix: Tensor, u: Tensor, importance: Tensor) -> Tensor:
    return matrix - (matrix @ u * importance) @ u.T
