"""ℓ(B) + α ‖z′ − h(x′)‖² + β ℓ(x″, y″), with x′ and x″ drawn apart from one memory."""

from __future__ import annotations

from torch import Tensor

from gradinc.config.values import Count, Strength
from gradinc.core.memory import make_memory
from gradinc.core.method import Method
from gradinc.core.rehearsal import fill, open_memory, replay, squared_error
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Task


class DERPP(Method):
    """Dark experience replay that also trains on rows of the memory

    Paper: Buzzega et al. 2020, arXiv 2004.07211

    Two batches are drawn independently for each micro-batch: one holds the logits, as in ``der``, the other one
    has the criterion. The squared distance is the mean over rows and outputs, as in the authors' code. Each
    micro-batch of a window draws rows of its own, so a window of K replays K times as many as one large batch does.
    The authors' program gives each of the two batches a forward pass of its own; here they share the micro-batch's
    pass, and so the statistics of BatchNorm.

    Args:
        memory: rows that the reservoir holds.
        replay: rows of each of the two batches, none twice in one, from all that it holds.
        alpha: α, of the logits.
        beta: β, of the labels.
    """

    state = ("memory",)
    rereads = True

    def __init__(self, *, memory: Count = 500, replay: Count = 32, alpha: Strength = 0.5, beta: Strength = 0.5) -> None:
        self.capacity, self.replay, self.alpha, self.beta = memory, replay, alpha, beta
        self.memory = make_memory("reservoir")

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, "derpp")

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        for name in ("derpp_logits", "derpp_labels"):
            batch = replay(batch, self.memory, self.replay, learner, name, weight=0.0)
        return batch

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        if "derpp_logits" not in batch.parts:
            return out.new_zeros(())
        distance = squared_error(*batch.part("derpp_logits", out), learner)
        return self.alpha * distance + self.beta * learner.criterion(*batch.part("derpp_labels", out)).mean()

    def stepped(self, window: Window, learner: LearnerView) -> None:
        fill(self.memory, window, logits=window.outputs)
