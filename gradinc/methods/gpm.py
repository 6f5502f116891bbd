"""G − G U Uᵀ for each layer's gradient G, with U a basis of what the layer saw in past tasks."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn

from gradinc.config.values import Count, Fraction, NonNegative
from gradinc.core.layer_inputs import ROWS_TOGETHER, check_matrix_layers, second_moments
from gradinc.core.method import Method
from gradinc.core.normalization import hold_statistics, norm_weights
from gradinc.core.subspaces import check_thresholds, confine, grown_bases, note_free, thresholds_of
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class GPM(Method):
    """Gradient projection memory: change no layer where past tasks' inputs lie

    Paper: Saha et al. 2021, arXiv 2103.09762

    Inputs are those in evaluation mode, as in the authors' program. A bias sees the input 1, so the basis has a row
    for it (the paper has no biases). Normalisations stand still after the first task, weights and statistics. An output
    layer with rows for each task alone is not held. The rank rules are those of the authors' program: in the first task
    as many directions as have a cumulative share below the threshold, so maybe none; later as many as reach it.

    Args:
        threshold: share of the inputs' squared norm that the basis holds; one for all layers or one for each.
        increase: what is added to it with each task; the authors' 0.97 and 0.003 are for ten.
        rows: training rows of a task that the basis is taken from, at random.
    """

    state = ("bases", "still")
    role = "confines"
    needs_past = True
    rests = "weights and statistics"

    def __init__(
        self, *, threshold: Fraction | list[Fraction] = 0.95, increase: NonNegative = 0.0, rows: Count = 300
    ) -> None:
        self.threshold, self.increase, self.rows = threshold, increase, rows
        self.bases: dict[str, Tensor] = {}  # of each layer, orthonormal columns, shape (n, r)
        self.still: list[str] = []  # weights of normalisations

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_matrix_layers("gpm", model)
        check_thresholds("gpm", self.threshold, self.increase, model, setting)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if self.bases:
            hold_statistics(learner.model)
        return batch

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if not self.bases:
            return
        confine(g, learner, {name: partial(_outside, u=u) for name, u in self.bases.items()}, self.still)

    def end(self, task: Task, learner: LearnerView) -> None:
        batches = task.batches(ROWS_TOGETHER, rows=self.rows, random=learner.rng("gpm"))
        moments, _ = second_moments(learner, batches)
        thresholds = thresholds_of("gpm", self.threshold, learner.model, self.increase * task.index)
        grown = grown_bases(self.bases, moments, thresholds)
        self.bases = {name: u.to(learner.weights.value) for name, u in grown.items()}
        self.still = norm_weights(learner)
        note_free(learner, {name: 1 - u.shape[1] / u.shape[0] for name, u in self.bases.items()})


def _outside(matrix: Tensor, u: Tensor) -> Tensor:
    return matrix - (matrix @ u) @ u.T
