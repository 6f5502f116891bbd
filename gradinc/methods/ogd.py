"""g − V Vᵀ g, with V a basis of the outputs' gradients on examples of past tasks."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from gradinc.config.values import Count
from gradinc.core.episodes import check_share, share
from gradinc.core.layer_inputs import own_outputs
from gradinc.core.linalg import orthonormal
from gradinc.core.method import Method
from gradinc.core.normalization import hold_statistics
from gradinc.core.passes import Objective
from gradinc.core.subspaces import note_removed
from gradinc.core.view import LearnerView
from gradinc.core.weights import output_layer
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class OGD(Method):
    """Orthogonal gradient descent: keep past outputs, to first order

    Paper: Farajtabar et al. 2020, arXiv 1910.07104

    For each example, gradients of outputs in evaluation mode are stored, each as long as all weights: of the true
    label's output (`gtl`; in regression of the outputs' mean), of the outputs' mean (`ave`), or of every output that
    counts (`all`, the only kind that preserves all of them).
    Statistics of batch normalisation stay unchanged after the first task. If each task has its own outputs, other
    tasks' outputs are not trained, so that only the layers before them are protected.

    Args:
        memory: examples with stored gradients, in units of stream.memory_unit; each task has the same share.
        kind: gtl, ave or all.
    """

    state = ("basis",)
    role = "confines"
    needs_past = True
    rests = "statistics"
    by_row = True

    def __init__(self, *, memory: Count = 200, kind: Literal["gtl", "ave", "all"] = "gtl") -> None:
        self.examples, self.kind = memory, kind
        self.basis: Tensor | None = None  # V, orthonormal columns, shape (P, r)

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_share("ogd", self.examples, setting)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if self.basis is not None:
            hold_statistics(learner.model)
        return batch

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if self.basis is None:
            return
        before = g.norm()
        g.sub_(self.basis @ (self.basis.T @ g))
        note_removed(learner, before, g.norm())

    def end(self, task: Task, learner: LearnerView) -> None:
        new = torch.cat(self._gradients(task, learner))
        if own_outputs(learner.criterion):
            last = output_layer(learner.model)
            for name, (a, b) in zip(learner.weights.names, learner.weights.spans, strict=True):
                if name.rpartition(".")[0] == last:
                    new[:, a:b] = 0
        added = orthonormal(new.T, self.basis)
        self.basis = added.contiguous() if self.basis is None else torch.cat((self.basis, added), 1)
        learner.note("free_rank", added.new_tensor(1 - self.basis.shape[1] / len(self.basis)))

    def _gradients(self, task: Task, learner: LearnerView) -> list[Tensor]:
        """Return gradients of outputs on examples of a task, in evaluation mode, each of shape (examples, P)."""
        found = []
        for batch in task.batches(32, rows=share(self.examples, task.setting), random=learner.rng("ogd")):
            if self.kind == "all":
                outputs = learner.outputs(batch)
                counted = learner.criterion.seen(batch, outputs).isfinite().any(0).nonzero()
                objectives: list[Objective] = [partial(_one, output=int(k)) for k in counted]
            else:
                objectives = [_true if self.kind == "gtl" else partial(_mean, learner=learner)]
            for objective in objectives:
                found += [part.rows() for part in learner.row_gradients(batch, objective, evaluated=True)]
        return found


def _one(batch: Batch, out: Tensor, output: int) -> Tensor:
    return out[:, output]


def _true(batch: Batch, out: Tensor) -> Tensor:
    return out.mean(1) if batch.y.is_floating_point() else out.gather(1, batch.y[:, None]).squeeze(1)


def _mean(batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
    counted = learner.criterion.seen(batch, out).isfinite()
    return torch.where(counted, out, 0).sum(1) / counted.sum(1)
