r"""G − G U Uᵀ for each layer's gradient G, with U a basis of the layer's inputs in past tasks.

$$ G_\ell \leftarrow G_\ell - G_\ell\, U_\ell U_\ell^\top $$
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import ClassVar

from torch import Tensor, nn

from gradinc.config.values import Count, Fraction, NonNegative
from gradinc.core.layer_inputs import check_matrix_layers, second_moments
from gradinc.core.method import Method
from gradinc.core.normalization import hold_statistics, norm_weights
from gradinc.core.passes import ROWS_TOGETHER
from gradinc.core.subspaces import check_thresholds, confine, grown_bases, note_free, outside, thresholds_of
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class GPM(Method):
    """Gradient projection memory: change no layer along past tasks' inputs

    Paper: Saha et al. 2021, arXiv 2103.09762
    Title: Gradient Projection Memory for Continual Learning
    Authors: Gobinda Saha, Isha Garg, Kaushik Roy
    Limits: Stores no rows, and works on linear and plain convolutional layers only. Its bases fill up: in a long stream
        of unlike tasks few directions stay free, and late tasks are learned badly (60 permuted tasks). Replay keeps
        more where classes compete for the outputs.

    Inputs are taken in evaluation mode, as in the authors' program. A bias has the input 1, so the basis has a row for
    it (the paper has no biases). Weights and statistics of normalisations stay unchanged after the first task. An
    output layer with separate rows for each task is not protected. The rank rules are from the authors' program: in the
    first task, as many directions as have a cumulative share below the threshold, possibly none; later, as many as
    reach it.

    Args:
        threshold: share of the inputs' squared norm that the basis contains; one for all layers or one for each.
        increase: added to the threshold with each task; the authors' 0.97 and 0.003 are for ten tasks.
        rows: random training rows of a task for the basis.
    """

    state: ClassVar[tuple[str, ...]] = ("bases", "still")
    role = "confines"
    needs_past = True
    rests = "weights and statistics"
    reads_task = True

    def __init__(
        self, *, threshold: Fraction | list[Fraction] = 0.95, increase: NonNegative = 0.0, rows: Count = 300
    ) -> None:
        self.threshold, self.increase, self.rows = threshold, increase, rows
        self.bases: dict[str, Tensor] = {}  # for each layer, orthonormal columns, shape (n, r)
        self.still: list[str] = []  # weights of normalisations

    @property
    def name(self) -> str:
        """The name of the method, also of one that extends this class."""
        return type(self).__name__.lower()

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_matrix_layers(self.name, model)
        check_thresholds(self.name, self.threshold, self.increase, model, setting)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if self.bases:
            hold_statistics(learner.model)
        return batch

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if self.bases:
            confine(g, learner, {name: self.change(name, u) for name, u in self.bases.items()}, self.still)

    def end(self, task: Task, learner: LearnerView) -> None:
        self.grow(*self.moments(task, learner), learner)
        note_free(learner, {name: 1 - u.shape[1] / u.shape[0] for name, u in self.bases.items()})

    def change(self, name: str, u: Tensor) -> Callable[[Tensor], Tensor]:
        """Return the function of a layer's gradient, shape (outputs, n), that confines it, by its basis U."""
        return partial(outside, u=u)

    def moments(self, task: Task, learner: LearnerView) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Return Σ x xᵀ of each layer's inputs in a task, shape (n, n), float64, and the threshold of each layer."""
        batches = task.batches(ROWS_TOGETHER, rows=self.rows, random=learner.rng(self.name))
        thresholds = thresholds_of(self.name, self.threshold, learner.model, self.increase * task.index)
        return second_moments(learner, batches)[0], thresholds

    def grow(self, moments: dict[str, Tensor], thresholds: dict[str, float], learner: LearnerView) -> dict[str, Tensor]:
        """Extend the bases by a task's inputs, and return them in float64."""
        grown = grown_bases(self.bases, moments, thresholds)
        self.bases = {name: u.to(learner.weights.value) for name, u in grown.items()}
        self.still = norm_weights(learner)
        return grown
