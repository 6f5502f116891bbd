r"""ℓ(B) + α ‖z − h(x)‖² for rows of a memory, with z the logits that were stored with them.

$$ \ell(B) + \alpha\, \lVert z - h_w(x)\rVert^2, \qquad (x, z) \in M $$
"""

from __future__ import annotations

from torch import Tensor, nn

from gradinc.config.values import Count, Strength
from gradinc.core.memory import make_memory
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_outputs, distance_from_stored, fill, open_memory, replay
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class DER(Method):
    """Dark experience replay: keep the outputs of stored rows as they were

    Paper: Buzzega et al. 2020, arXiv 2004.07211
    Title: Dark Experience for General Continual Learning: a Strong, Simple Baseline
    Authors: Pietro Buzzega, Matteo Boschini, Angelo Porrello, Davide Abati, Simone Calderara
    Limits: Needs stored rows with their outputs. The squared distance of logits can diverge at learning rates that
        other methods allow: on permuted and rotated Fashion-MNIST it did, with the published settings and 200 rows.

    The logits are from the pass in which the row was trained on, before its window's update; rows are also stored as
    they were trained on. The distance is the mean over rows and outputs, as in the authors' code, so that α has the
    scale of their tables. Outputs that do not count for a row's task are left out. Each micro-batch of a window draws
    its own `replay` rows, so a window of K replays K times as many rows as one large batch. The authors' program uses
    a separate forward pass for replayed rows; here they share the micro-batch's pass, and so the statistics of
    BatchNorm.

    Args:
        memory: rows that the reservoir stores, in units of stream.memory_unit.
        replay: rows drawn for each micro-batch, without repetition, from the whole memory.
        alpha: α.
    """

    state = ("memory",)
    rereads = True

    def __init__(self, *, memory: Count = 500, replay: Count = 32, alpha: Strength = 0.5) -> None:
        self.capacity, self.replay, self.alpha = memory, replay, alpha
        self.memory = make_memory("reservoir")

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_outputs("der", setting)

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, "der")

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        return replay(batch, self.memory, self.replay, learner, "der", weight=0.0)

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        if "der" not in batch.parts:
            return out.new_zeros(())
        return self.alpha * distance_from_stored(*batch.part("der", out), learner)

    def stepped(self, window: Window, learner: LearnerView) -> None:
        fill(self.memory, window, logits=window.outputs)
