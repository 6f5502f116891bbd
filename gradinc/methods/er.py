r"""Train on B ∪ M, with M drawn from a memory of all rows so far.

$$ \ell(B \cup M_k), \qquad M_k \subset M \text{ drawn for each micro-batch} $$
"""

from __future__ import annotations

from torch import nn

from gradinc.config.values import Among, Count, Kept, ReplayLoss
from gradinc.core.memory import make_memory
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_memory, fill, open_memory, replay
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class ER(Method):
    """Experience replay: train on stored rows together with new rows

    Paper: Chaudhry et al. 2019, arXiv 1902.10486
    Title: On Tiny Episodic Memories in Continual Learning
    Authors: Arslan Chaudhry, Marcus Rohrbach, Mohamed Elhoseiny, Thalaiyasingam Ajanthan, Puneet K. Dokania, Philip H.
        S. Torr, Marc'Aurelio Ranzato
    Limits: Needs stored rows, and trains on them in every micro-batch. Where classes compete for the outputs it is
        close to the best of the methods compared here. In the published table of 20 permuted tasks, with 500 rows, it
        keeps less than DER++, which also stores outputs.

    By default the loss is the mean over a micro-batch's rows and the rows replayed with it. Each micro-batch of a
    window draws its own `replay` rows, so a window of K replays K times as many rows as one large batch. The memory is
    offered the window's rows after its update: a window of micro-batches fills it as the large batch does.

    Args:
        memory: rows that it stores, in units of stream.memory_unit.
        replay: rows drawn for each micro-batch, without repetition.
        among: they are drawn from all rows of the memory, or only from rows of past tasks. On a GPU each micro-batch of
            among=past waits for their number.
        kind: selection of stored rows: reservoir, each row with the same probability; ring, the latest rows of each
            class of each task; balanced, random rows with the same number for each class.
        loss: pooled, the mean over a micro-batch's rows and the rows replayed with it, or sum, the mean over its rows
            plus the mean over the replayed rows.
    """

    state = ("memory",)
    rereads = True

    def __init__(
        self,
        *,
        memory: Count = 500,
        replay: Count = 32,
        among: Among = "all",
        kind: Kept = "reservoir",
        loss: ReplayLoss = "pooled",
    ) -> None:
        self.capacity, self.replay, self.among, self.kind, self.replay_loss = memory, replay, among, kind, loss
        self.memory = make_memory(kind)

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_memory("er", self.kind, self.capacity, setting)

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, "er")

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        return replay(batch, self.memory, self.replay, learner, "er", among=self.among, loss=self.replay_loss)

    def stepped(self, window: Window, learner: LearnerView) -> None:
        fill(self.memory, window)
