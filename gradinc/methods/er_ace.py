"""ℓ(B; classes of B) + ℓ(M; all classes)."""

from __future__ import annotations

from dataclasses import replace as changed

import torch
from torch import Tensor, nn

from gradinc.config.values import Count, Kept
from gradinc.core.memory import make_memory
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_classes, check_memory, fill, open_memory, replay
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class ERACE(Method):
    """Experience replay in which new rows push no old classes away

    Paper: Caccia et al. 2022, arXiv 2104.05025

    In the cross-entropy of the stream's rows only the classes of their micro-batch count, and those that the stream
    never had, as in the authors' code; the paper's formula leaves out the latter. That of the replayed rows has all
    classes. The loss is the sum of the two means. In the first task nothing is masked. Each micro-batch of a window
    has the mask of its own classes, where one large batch has that of all of them, and `replay` rows of its own. The
    authors' program gives replayed rows a forward pass of their own; here they share the micro-batch's pass, and so
    the statistics of BatchNorm.

    Args:
        memory: rows that it holds.
        replay: rows drawn for each micro-batch, none twice, from all that it holds.
        kind: which rows stay: reservoir any with the same chance, ring the latest of each class of each task,
            balanced any, with classes even.
    """

    state = ("memory", "seen")
    rereads = True

    def __init__(self, *, memory: Count = 500, replay: Count = 32, kind: Kept = "reservoir") -> None:
        self.capacity, self.replay, self.kind = memory, replay, kind
        self.memory = make_memory(kind)
        self.seen = torch.empty(0, dtype=torch.bool)  # classes that the stream has had, shape (outputs,)

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_classes("er_ace", setting)
        check_memory("er_ace", self.kind, self.capacity, setting)

    def begin(self, task: Task, learner: LearnerView) -> None:
        if self.memory.capacity == 0:
            self.seen = torch.zeros(task.setting.outputs, dtype=torch.bool, device=learner.weights.value.device)
        open_memory(self.memory, self.capacity, task, learner, "er_ace")

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        present = torch.zeros_like(self.seen).index_fill_(0, batch.y, True)
        self.seen = self.seen | present
        if batch.task > 0:
            counts = present | ~self.seen
            mask = torch.zeros_like(counts, dtype=batch.x.dtype).masked_fill_(~counts, float("-inf"))
            batch = changed(batch, mask=mask.expand(len(batch.y), -1))
        return replay(batch, self.memory, self.replay, learner, "er_ace", weight=0.0)

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        if "er_ace" not in batch.parts:
            return out.new_zeros(())
        return learner.criterion(*batch.part("er_ace", out)).mean()

    def stepped(self, window: Window, learner: LearnerView) -> None:
        fill(self.memory, window)
