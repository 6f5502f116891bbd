r"""ℓ(B) + α ‖z′ − h(x′)‖² + β ℓ(x″, y″), with x′ and x″ drawn independently from one memory.

$$ \ell(B) + \alpha\, \lVert z' - h_w(x')\rVert^2 + \beta\, \ell\left(h_w(x''), y''\right) $$
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


class DERPP(Method):
    """Dark experience replay that also trains on rows of the memory

    Paper: Buzzega et al. 2020, arXiv 2004.07211
    Title: Dark Experience for General Continual Learning: a Strong, Simple Baseline
    Authors: Pietro Buzzega, Matteo Boschini, Angelo Porrello, Davide Abati, Simone Calderara
    Limits: Needs stored rows with their outputs, and almost twice the passes of ER. It is first or close to first on
        our streams of Fashion-MNIST; with ten classes of spoken digits ER keeps more.

    Two batches are drawn independently for each micro-batch: one for the stored logits, as in ``der``, the other for
    the criterion. The squared distance is the mean over rows and outputs, as in the authors' code. Each micro-batch
    of a window draws its own rows, so a window of K replays K times as many rows as one large batch. The authors'
    program uses a separate forward pass for each of the two batches; here they share the micro-batch's pass, and so
    the statistics of BatchNorm.

    Args:
        memory: rows that the reservoir stores, in units of stream.memory_unit.
        replay: rows of each of the two batches, without repetition in a batch, from the whole memory.
        alpha: α, weight of the logits' term.
        beta: β, weight of the labels' term.
    """

    state = ("memory",)
    rereads = True

    def __init__(self, *, memory: Count = 500, replay: Count = 32, alpha: Strength = 0.5, beta: Strength = 0.5) -> None:
        self.capacity, self.replay, self.alpha, self.beta = memory, replay, alpha, beta
        self.memory = make_memory("reservoir")

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_outputs("derpp", setting)

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, "derpp")

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        return replay(batch, self.memory, self.replay, learner, "derpp_logits", "derpp_labels", weight=0.0)

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        if "derpp_logits" not in batch.parts:
            return out.new_zeros(())
        distance = distance_from_stored(*batch.part("derpp_logits", out), learner)
        return self.alpha * distance + self.beta * learner.criterion.mean(*batch.part("derpp_labels", out))

    def stepped(self, window: Window, learner: LearnerView) -> None:
        fill(self.memory, window, logits=window.outputs)
