r"""g − Jᵀ (J Jᵀ)⁻¹ J g, with J the outputs' gradients on examples of past tasks.

$$ g \leftarrow g - J^\top (J J^\top)^{-1} J\, g $$
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial, reduce
from typing import Literal

import torch
from torch import Tensor, nn

from gradinc.config.values import Count
from gradinc.core.episodes import check_share, share
from gradinc.core.layer_inputs import own_outputs
from gradinc.core.method import Method
from gradinc.core.normalization import hold_statistics
from gradinc.core.passes import ROWS_TOGETHER, Objective
from gradinc.core.rehearsal import check_outputs
from gradinc.core.row_gradients import RowGradients, kept
from gradinc.core.row_span import RowSpan, extended
from gradinc.core.subspaces import note_removed
from gradinc.core.view import LearnerView
from gradinc.core.weights import output_layer
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class OGD(Method):
    """Orthogonal gradient descent: keep past outputs, to first order

    Paper: Farajtabar et al. 2020, arXiv 1910.07104
    Title: Orthogonal Gradient Descent for Continual Learning
    Authors: Mehrdad Farajtabar, Navid Azizan, Alex Mott, Ang Li
    Limits: Stores a vector of all weights for each stored row. Its directions keep past outputs to first order, near
        the weights at which they were taken: large learning rates and many epochs leave that region.

    For each example, gradients of outputs in evaluation mode are stored: of the true label's output (`gtl`; in
    regression of the outputs' mean), of the outputs' mean (`ave`), or of every output that counts (`all`, the only kind
    that preserves all of them). A gradient is stored as the inputs of the layers and the gradients of their outputs
    where this is shorter; the paper stores an orthonormal basis of the same span, of vectors as long as all weights.
    With r stored gradients and P weights, each update takes at least 4 r P floating-point operations more.
    Statistics of batch normalisation stay unchanged after the first task. If each task has its own outputs, other
    tasks' outputs are not trained, so that only the layers before them are protected.

    Args:
        memory: examples with stored gradients, in units of stream.memory_unit; each task has the same share.
        kind: gtl, ave or all.
    """

    state = ("examples", "basis")
    role = "confines"
    needs_past = True
    rests = "statistics"
    reads_task = True
    by_row = True

    def __init__(self, *, memory: Count = 200, kind: Literal["gtl", "ave", "all"] = "gtl") -> None:
        self.memory, self.kind = memory, kind
        self.examples: list[list[Tensor]] = []  # for each parameter what determines J, shape (r, P)
        self.basis: Tensor | None = None  # C with C J Jᵀ Cᵀ = I, float64, shape (r, r)

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_share("ogd", self.memory, setting)
        check_outputs("ogd", setting)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if self.basis is not None:
            hold_statistics(learner.model)
        return batch

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if (span := self._span(learner)) is None:
            return
        before = g.norm()
        span.take_out(g)
        note_removed(learner, before, g.norm())

    def end(self, task: Task, learner: LearnerView) -> None:
        new = reduce(RowGradients.joined, self._gradients(task, learner))
        if own_outputs(learner.criterion):
            last = output_layer(learner.model)
            new = new.without([name.rpartition(".")[0] == last for name in learner.weights.names])
        span = extended(self._span(learner), new)
        self.examples, self.basis = [list(factor.tensors) for factor in span.rows.factors], span.basis
        learner.note("free_rank", self.basis.new_tensor(1 - len(self.basis) / len(learner.weights)))

    def _span(self, learner: LearnerView) -> RowSpan | None:
        if self.basis is None:
            return None
        sizes = (stop - start for start, stop in learner.weights.spans)
        return RowSpan(RowGradients([kept(*each) for each in zip(self.examples, sizes, strict=True)]), self.basis)

    def _gradients(self, task: Task, learner: LearnerView) -> Iterator[RowGradients]:
        """Yield gradients of outputs on examples of a task, in evaluation mode."""
        for batch in task.batches(ROWS_TOGETHER, rows=share(self.memory, task.setting), random=learner.rng("ogd")):
            if self.kind == "all":
                outputs = learner.outputs(batch)
                counted = learner.criterion.seen(batch, outputs).isfinite().any(0).nonzero()
                objectives: list[Objective] = [partial(_one, output=int(k)) for k in counted]
            else:
                objectives = [_true if self.kind == "gtl" else partial(_mean, learner=learner)]
            for objective in objectives:
                for part in learner.row_gradients(batch, objective, evaluated=True):
                    yield part.stored()


def _one(batch: Batch, out: Tensor, output: int) -> Tensor:
    return out[:, output]


def _true(batch: Batch, out: Tensor) -> Tensor:
    return out.mean(1) if batch.y.is_floating_point() else out.gather(1, batch.y[:, None]).squeeze(1)


def _mean(batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
    counted = learner.criterion.seen(batch, out).isfinite()
    return torch.where(counted, out, 0).sum(1) / counted.sum(1)
