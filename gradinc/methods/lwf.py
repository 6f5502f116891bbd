r"""ℓ(B) + α Σₜ KL(softmax(zₜ* / T) ‖ softmax(zₜ / T)), with z* the outputs of the model at the last task's end.

$$ \ell(B) + \alpha \sum_t \mathrm{KL}\left(\mathrm{softmax}(z_t^* / T) \,\Vert\, \mathrm{softmax}(z_t / T)\right) $$
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from gradinc.config.values import Positive, Strength
from gradinc.core.criterion import CrossEntropy
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_classes
from gradinc.core.teacher import remembered, taught
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class LwF(Method):
    """Learning without forgetting: the old model teaches on the new data

    Paper: Li & Hoiem 2016, arXiv 1606.09282
    Title: Learning without Forgetting
    Authors: Zhizhong Li, Derek Hoiem
    Limits: Stores no rows. The old model's outputs on rows of new classes say little about old classes: in
        class-incremental Split MNIST it stays at the level of fine-tuning, and gains some points if the task is known.

    The old model is the model at the last task's end, in evaluation mode. If the task is known, each old task has its
    own softmax, their losses add up, and the old heads are trained, too; otherwise the outputs of all old classes have
    one softmax. The loss differs from the paper's cross-entropy by the entropy of the old outputs, so that it is 0 for
    unchanged outputs; the gradient is the same. As in the paper it is not multiplied by T². There is no phase in which
    the new head trains alone. The first task has no teacher.

    Args:
        alpha: weight of the old outputs, the paper's λ₀.
        temperature: T.
    """

    state = ("teacher",)
    needs_past = True

    def __init__(self, *, alpha: Strength = 1.0, temperature: Positive = 2.0) -> None:
        self.alpha, self.temperature = alpha, temperature
        self.teacher: list[Tensor] = []  # the weights, shape (P,), and the model's buffers

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_classes("lwf", setting)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if not self.teacher:
            return batch
        outputs = taught(self.teacher, batch.rows(0, batch.fresh), learner)
        return replace(batch.keeping("lwf", 0, batch.fresh, logits=outputs), heads=tuple(range(batch.task)))

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        if "lwf" not in batch.parts:
            return out.new_zeros(())
        rows, out = batch.part("lwf", out)
        assert isinstance(learner.criterion, CrossEntropy)
        outputs = learner.criterion.outputs
        groups = out.new_zeros(1, out.shape[1]) if outputs is None else outputs.old(batch.task)
        old, new = ((z[:, None] / self.temperature + groups).log_softmax(2) for z in (rows.kept["logits"], out))
        divergence = torch.where(groups == 0, old.exp() * (old - new), 0.0)
        return self.alpha * divergence.sum((1, 2)).mean()

    def end(self, task: Task, learner: LearnerView) -> None:
        self.teacher = remembered(learner)
