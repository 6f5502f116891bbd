r"""Train on B ∪ M, with M the rows whose loss would rise most by a step on B alone.

$$ \ell(B \cup M_k), \qquad M_k = \text{the rows of } M \text{ with the largest } \ell_{w - \eta \nabla \ell(B)}(x) -
\ell_w(x) $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Against, Among, Count, ReplayLoss
from gradinc.core.episodes import batch_of
from gradinc.core.memory import MemoryRows, make_memory
from gradinc.core.method import Method
from gradinc.core.rehearsal import drawn_slots, fill, open_memory, past_slots, replaying
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Task


class MIR(Method):
    """Maximally interfered retrieval: replay what the next step harms most

    Paper: Aljundi et al. 2019, arXiv 1908.04742
    Title: Online Continual Learning with Maximally Interfered Retrieval
    Authors: Rahaf Aljundi, Lucas Caccia, Eugene Belilovsky, Massimo Caccia, Min Lin, Laurent Charlin, Tinne Tuytelaars
    Limits: Needs a virtual step and the losses of its candidates for each micro-batch, almost twice the rows of ER
        through the model.

    Of `candidates` rows drawn from a reservoir, the rows are replayed whose loss rises most over a virtual step
    w − lr ∇ℓ(B). The step is plain gradient descent for every optimizer, and each micro-batch of a window has its own
    step; losses are taken in evaluation mode. The weights are restored to the bit.
    The defaults are the paper's algorithm: rows of the current task are candidates too, and the loss is the mean over
    B ∪ M. The authors' program replays rows of earlier tasks only (`among=past`), adds the mean over M to the mean over
    B (`loss=sum`), and uses a separate forward pass for each; here they share one, and so the statistics of BatchNorm.
    The paper's second criterion (`against=best`) compares the loss after the virtual step with the smallest loss that
    the row has had as a candidate, so that rows that are being forgotten count more. Their commands for MNIST use it.

    Args:
        memory: rows that the reservoir stores, in units of stream.memory_unit.
        replay: rows that are replayed with each micro-batch.
        candidates: rows drawn as candidates, without repetition, from the whole memory.
        against: the loss that the rise is measured from: now, the present one, or best, the smallest so far.
        among: candidates from all rows of the memory, or only from rows of past tasks. On a GPU each micro-batch of
            among=past waits for their number.
        loss: pooled, the mean over a micro-batch's rows and the rows replayed with it, or sum, the mean over its rows
            plus the mean over the replayed rows.
    """

    state = ("memory",)
    rereads = True

    def __init__(
        self,
        *,
        memory: Count = 500,
        replay: Count = 10,
        candidates: Count = 50,
        against: Against = "now",
        among: Among = "all",
        loss: ReplayLoss = "pooled",
    ) -> None:
        self.capacity, self.replay, self.candidates = memory, replay, candidates
        self.against, self.among, self.replay_loss = against, among, loss
        self.memory = make_memory("reservoir")

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, "mir")

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        past = past_slots(self.memory, batch) if self.among == "past" else None
        if (len(self.memory) if past is None else len(past)) == 0:
            return batch
        slots = drawn_slots(self.memory, self.candidates, learner.rng("mir"), past)
        rows = self.memory.rows(slots)
        before, after = self._losses(batch, rows, learner)
        if self.against == "best":
            before = torch.minimum(before, rows["best"])
            self.memory.update(slots, best=before)
        rise, terms = after - before, learner.criterion.terms(rows["y"])
        rise = rise if terms is None else rise / terms.where(terms > 0, 1.0)
        worst = rise.topk(min(self.replay, len(slots))).indices
        return replaying(batch, {name: field[worst] for name, field in rows.items()}, learner, loss=self.replay_loss)

    def stepped(self, window: Window, learner: LearnerView) -> None:
        if self.against == "best":
            unknown = [learner.weights.value.new_full((batch.fresh,), torch.inf) for batch in window.batches]
            fill(self.memory, window, best=unknown)
        else:
            fill(self.memory, window)

    @staticmethod
    @torch.no_grad()
    def _losses(batch: Batch, rows: MemoryRows, learner: LearnerView) -> tuple[Tensor, Tensor]:
        """Return the candidates' losses before and after the virtual step, each of shape (candidates,)."""
        candidates = batch_of(rows, batch.task)
        value = learner.weights.value
        before, kept = learner.criterion(candidates, learner.outputs(candidates)), value.clone()
        value.sub_(learner.gradient(batch.rows(0, batch.fresh)), alpha=learner.lr)
        after = learner.criterion(candidates, learner.outputs(candidates))
        value.copy_(kept)
        return before, after
