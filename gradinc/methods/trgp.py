r"""GPM's gradient G − G U Uᵀ, plus W S Sᵀ Wᵀ G S Sᵀ for the subspace S of each related past task.

$$ G_\ell \leftarrow G_\ell - G_\ell U_\ell U_\ell^\top + \sum_{t \text{ related}} W_\ell S_t S_t^\top W_\ell^\top\,
G_\ell\, S_t S_t^\top $$
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gradinc.config.values import Count, Fraction, NonNegative
from gradinc.core.linalg import tiny
from gradinc.core.subspaces import change_layers, hold, inside, layer_matrices, note_free, outside
from gradinc.core.view import LearnerView
from gradinc.data.task import Task
from gradinc.methods.gpm import GPM


class TRGP(GPM):
    """Trust region gradient projection: reuse weights of related tasks

    Paper: Lin et al. 2022, arXiv 2202.02931
    Title: TRGP: Trust Region Gradient Projection for Continual Learning
    Authors: Sen Lin, Li Yang, Deliang Fan, Junshan Zhang
    Limits: Needs the task of each row, because each task has its own weights in the directions that it shares. As with
        GPM, free directions run out.

    A past task is related to a new one, in a layer, if the gradient of the new task has at least the share `related` of
    its norm in the past task's subspace S. For the most related tasks the layer's effective weight is
    W + Σ W S (Q − I) Sᵀ, with a matrix Q that is learned for the new task from I; W changes as in GPM, outside all
    subspaces. Plain SGD on Q and W is the gradient above on the effective weight, so the weights in training are the
    effective ones; other optimizers see that gradient. Each task is measured with its own Q, so a test must know the
    task, also with one head. Without a related task it is GPM, which describes what is protected.

    A task's subspace has the directions of U with the largest share of its inputs, as many as reach the threshold. The
    authors' program chooses them among U and all remaining directions of these inputs, and extends U by the chosen ones
    except the first. It relates the third task to the second only, and takes inputs without Q.

    Args:
        threshold: share of the inputs' squared norm that the basis contains; one for all layers or one for each.
        increase: added to the threshold with each task.
        rows: random training rows of a task for the basis, and of a new task for its relations.
        related: least share of the gradient's norm in the subspace of a related task.
        most: related tasks of a layer, at most.
    """

    state = ("bases", "spaces", "trusted", "anchor", "offsets", "still", "task")
    weights_by_task = True

    def __init__(
        self,
        *,
        threshold: Fraction | list[Fraction] = 0.95,
        increase: NonNegative = 0.0,
        rows: Count = 300,
        related: Fraction = 0.5,
        most: Count = 2,
    ) -> None:
        super().__init__(threshold=threshold, increase=increase, rows=rows)
        self.related, self.most = related, most
        self.spaces: list[dict[str, Tensor]] = []  # for each past task and layer, the columns of U that are its S
        self.trusted: dict[str, list[list[Tensor]]] = {}  # for each layer, the pairs W S and S of related tasks
        self.anchor: Tensor | None = None  # the weights at the beginning of the task in training, shape (P,)
        self.offsets: dict[int, Tensor] = {}  # Σ W S (Q − I) Sᵀ of tasks with relations, shape (P,)
        self.task = 0

    def standing(self, learner: LearnerView, task: int | None = None) -> Tensor | None:
        task, value = self.task if task is None else task, learner.weights.value
        if task == self.task and self.anchor is not None:
            return None
        own = self._learned(learner) if self.anchor is not None else torch.zeros_like(value)
        return value - own + self.offsets[task] if task in self.offsets else value - own

    def begin(self, task: Task, learner: LearnerView) -> None:
        self.task, self.trusted = task.index, {}
        if not self.bases:
            return
        self.anchor = learner.weights.value.clone()
        (batch,) = task.batches(self.rows, rows=self.rows, random=learner.rng("trgp_related"))
        slope = learner.gradient(batch)
        slopes, matrices = (layer_matrices(each, learner.weights, self.bases) for each in (slope, self.anchor))
        self.trusted = {name: self._related(name, slopes[name], matrices[name]) for name in self.bases}
        learner.note("related", slope.new_full((), float(sum(map(len, self.trusted.values())))))

    def change(self, name: str, u: Tensor) -> Callable[[Tensor], Tensor]:
        return partial(_projected, u=u, pairs=self.trusted[name])

    def end(self, task: Task, learner: LearnerView) -> None:
        moments, thresholds = self.moments(task, learner)
        if any(self.trusted.values()):
            self.offsets = {**self.offsets, task.index: self._learned(learner)}
            learner.weights.value.sub_(self.offsets[task.index])
        self.anchor, self.trusted = None, {}
        grown = self.grow(moments, thresholds, learner)
        self.spaces = [*self.spaces, {name: _main(u, moments[name], thresholds[name]) for name, u in grown.items()}]
        note_free(learner, {name: 1 - u.shape[1] / u.shape[0] for name, u in self.bases.items()})

    def _learned(self, learner: LearnerView) -> Tensor:
        """Return Σ W S (Q − I) Sᵀ of the task in training, shape (P,): its change of the weights inside of U."""
        assert self.anchor is not None
        moved = learner.weights.value - self.anchor
        others = {name.rpartition(".")[0] for name in learner.weights.names} - self.bases.keys()
        hold(moved, learner.weights, [name for name in learner.weights.names if name.rpartition(".")[0] in others])
        change_layers(moved, learner.weights, {name: partial(inside, u=u) for name, u in self.bases.items()})
        return moved

    def _related(self, name: str, slope: Tensor, matrix: Tensor) -> list[list[Tensor]]:
        """Return W S and S of the related tasks of a layer, by its gradient, shape (outputs, n)."""
        spaces = [self.bases[name][:, space[name]] for space in self.spaces]
        shares = (torch.stack([(slope @ s).norm() for s in spaces]) / slope.norm().clamp(min=tiny(slope))).tolist()
        best = sorted(range(len(spaces)), key=shares.__getitem__, reverse=True)[: self.most]
        return [[matrix @ spaces[task], spaces[task]] for task in best if shares[task] > self.related]


def _projected(matrix: Tensor, u: Tensor, pairs: list[list[Tensor]]) -> Tensor:
    total = outside(matrix, u)
    for scaled, s in pairs:
        total = total + scaled @ (scaled.T @ (matrix @ s)) @ s.T
    return total


def _main(u: Tensor, moment: Tensor, threshold: float) -> Tensor:
    """Return the columns of U with the largest shares of a task's inputs, as many as reach the threshold."""
    energies, order = (u * (moment @ u)).sum(0).sort(descending=True)
    short = energies.cumsum(0) < threshold * moment.trace()
    return order[: int(short.sum()) + 1].sort().values
