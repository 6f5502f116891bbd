r"""g + λ Σₜ Fₜ (w − wₜ*), with Fₜ the diagonal of task t's Fisher matrix.

$$ g \leftarrow g + \lambda \sum_t F_t \odot (w - w_t^*) $$
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.config.names import shown
from gradinc.config.values import Count, Fraction, Strength
from gradinc.core.criterion import Criterion
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task

_ROWS = 128
"""Rows whose gradients are computed together."""


class EWC(Method):
    """Elastic weight consolidation: penalise changes by Fisher information

    Paper: Kirkpatrick et al. 2017, arXiv 1612.00796
    Title: Overcoming catastrophic forgetting in neural networks
    Authors: James Kirkpatrick, Razvan Pascanu, Neil Rabinowitz, Joel Veness, Guillaume Desjardins, Andrei A. Rusu,
        Kieran Milan, John Quan, Tiago Ramalho, Agnieszka Grabska-Barwinska, Demis Hassabis, Claudia Clopath, Dharshan
        Kumaran, Raia Hadsell
    Limits: The strength has to be searched: too small changes nothing, too large diverges. In class-incremental streams
        it stays at the level of fine-tuning, because no term compares old classes with new ones.

    The penalty is λ/2 Σ F (w − w*)². `separate` has a penalty for each task; `online` (Schwarz et al. 2018, arXiv
    1805.06370) has one penalty around the latest weights, with Fisher information that decays by gamma with each task.
    The paper of Schwarz et al. multiplies the penalty by gamma once more, so its λ is this strength divided by gamma.
    Both modes store two vectors, for any number of tasks. Some programs leave out the factor 1/2: their λ is half of
    this strength. Gradients for the Fisher information are computed in evaluation mode.

    Args:
        strength: λ.
        mode: separate or online.
        gamma: factor of the old Fisher information at each task, for mode=online.
        fisher: empirical squares each row's gradient for its own label, true for a label drawn from the model, argmax
            for the model's best label; weighted multiplies the empirical square by the model's probability of the
            label, as DER's authors' program does; batch squares the mean gradient of some rows, which is not the
            Fisher information, as GEM's authors' program does; ones holds all weights alike, as the L2 penalty with
            which the paper compares EWC. With mode=online gamma=0 it holds them at the latest weights only.
        rows: random training rows of a task for the Fisher information; null uses all.
        batch: rows whose mean gradient is squared, for fisher=batch.
    """

    state = ("fisher", "pull")
    needs_past = True
    reads_task = True

    def __init__(
        self,
        *,
        strength: Strength = 1.0,
        mode: Literal["separate", "online"] = "separate",
        gamma: Fraction = 1.0,
        fisher: Literal["empirical", "true", "argmax", "weighted", "batch", "ones"] = "empirical",
        rows: Count | None = 1024,
        batch: Count = 32,
    ) -> None:
        if batch != 32 and fisher != "batch":
            what = "has no effect without fisher=batch"
            raise UserError(f"strategy.methods.ewc.batch={batch}", what, "Set fisher=batch too, or leave it out")
        if rows != 1024 and fisher == "ones":
            what = "has no effect with fisher=ones"
            raise UserError(f"strategy.methods.ewc.rows={shown(rows)}", what, "Leave it out")
        if gamma != 1 and mode != "online":
            what = "has no effect without mode=online"
            raise UserError(f"strategy.methods.ewc.gamma={gamma:g}", what, "Set mode=online too, or leave it out")
        self.strength, self.mode, self.gamma, self.kind, self.rows = strength, mode, gamma, fisher, rows
        self.size, self.by_row = batch, fisher not in ("batch", "ones")
        self.fisher: Tensor | None = None  # Σ F, shape (P,)
        self.pull: Tensor | None = None  # Σ F w*, shape (P,)

    def check(self, model: nn.Module, setting: Setting) -> None:
        if self.kind in ("true", "argmax", "weighted") and setting.outputs and not setting.classes:
            what = "needs classes, and the targets of these data are numbers"
            raise UserError(f"strategy.methods.ewc.fisher={self.kind}", what, "Use empirical or batch")

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if self.fisher is None or self.pull is None:
            return
        force = torch.addcmul(-self.pull, self.fisher, learner.weights.value)
        g.add_(force, alpha=self.strength)
        learner.note("penalty_gradient", self.strength * force.norm())

    def end(self, task: Task, learner: LearnerView) -> None:
        new, weights = self._information(task, learner), learner.weights.value
        if self.fisher is None or self.pull is None:
            self.fisher, self.pull = new, new * weights
        elif self.mode == "separate":
            self.fisher += new
            self.pull.addcmul_(new, weights)
        else:
            self.fisher.mul_(self.gamma).add_(new)
            self.pull = self.fisher * weights

    def _information(self, task: Task, learner: LearnerView) -> Tensor:
        """Return the mean over rows of their squared gradients, shape (P,)."""
        if self.kind == "ones":
            return torch.ones_like(learner.weights.value)
        random, total, rows = learner.rng("ewc"), torch.zeros_like(learner.weights.value), 0.0
        objective = partial(_weighted, criterion=learner.criterion) if self.kind == "weighted" else None
        for batch in task.batches(_ROWS if self.by_row else self.size, rows=self.rows, random=random):
            if self.kind in ("true", "argmax"):
                batch = _relabelled(batch, learner, random if self.kind == "true" else None)
            if self.by_row:
                for grads in learner.row_gradients(batch, objective, evaluated=True):
                    grads.add_squares(total)
            else:
                total += learner.gradient(batch, objective, evaluated=True).square_() * batch.items
            rows += batch.items
        return total.div_(rows)


def _weighted(batch: Batch, out: Tensor, criterion: Criterion) -> Tensor:
    """Return losses whose squared gradients are the criterion's times the probability of the label."""
    loss = criterion(batch, out)
    return loss * (-loss.detach() / 2).exp()


def _relabelled(batch: Batch, learner: LearnerView, random: torch.Generator | None) -> Batch:
    """Return the rows with labels from the model: drawn, or without a generator the most probable."""
    logits = learner.criterion.seen(batch, learner.outputs(batch))
    y = logits.argmax(1) if random is None else torch.multinomial(logits.softmax(1), 1, generator=random).squeeze(1)
    return Batch(batch.x, y, batch.task, batch.items, tasks=batch.tasks)
