"""Train on B ∪ M, with M the rows whose loss the step of B alone would raise most."""

from __future__ import annotations

import torch

from gradinc.batch import Batch
from gradinc.config.values import Count
from gradinc.data.stream import Task
from gradinc.learner import Learner
from gradinc.memory import Rows, make_memory
from gradinc.method import Method
from gradinc.rehearsal import fill, open_memory
from gradinc.window import Window


class MIR(Method):
    """Maximally interfered retrieval: replay what the next step harms most

    Paper: Aljundi et al. 2019, arXiv 1908.04742

    Of `candidates` rows drawn from a reservoir, those are replayed whose loss rises most over a virtual step
    w − lr ∇ℓ(B). The step is plain gradient descent, whatever the optimizer, and each micro-batch of a window has
    its own; losses are taken in evaluation mode. The weights come back to the bit.

    Args:
        memory: rows that the reservoir holds.
        replay: rows that are replayed with each micro-batch.
        candidates: rows that they are chosen from, none twice, of all that it holds.
    """

    state = ("memory",)
    rereads = True

    def __init__(self, *, memory: Count = 500, replay: Count = 10, candidates: Count = 50) -> None:
        self.capacity, self.replay, self.candidates = memory, replay, candidates
        self.memory = make_memory("reservoir")

    def begin(self, task: Task, learner: Learner) -> None:
        open_memory(self.memory, self.capacity, task, learner, "mir")

    def batch(self, batch: Batch, learner: Learner) -> Batch:
        if len(self.memory) == 0:
            return batch
        rows = self.memory.draw(self.candidates, learner.rng("mir"))
        worst = self._interference(batch, rows, learner).topk(min(self.replay, len(rows["y"]))).indices
        return batch.replaying(rows["x"][worst], rows["y"][worst], rows["tasks"][worst])

    def stepped(self, window: Window, learner: Learner) -> None:
        fill(self.memory, window)

    @staticmethod
    @torch.no_grad()
    def _interference(batch: Batch, rows: Rows, learner: Learner) -> torch.Tensor:
        """How much the loss of each candidate rises, shape (candidates,)."""
        candidates = Batch(rows["x"], rows["y"], batch.task, float(len(rows["y"])), tasks=rows["tasks"])
        value = learner.weights.value
        before, kept = learner.criterion(candidates, learner.outputs(candidates)), value.clone()
        value.sub_(learner.gradient(batch.rows(0, batch.fresh)), alpha=learner.lr)
        after = learner.criterion(candidates, learner.outputs(candidates))
        value.copy_(kept)
        return after - before
