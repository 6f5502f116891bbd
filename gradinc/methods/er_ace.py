r"""ℓ(B; classes of B) + ℓ(M; all classes).

$$ \ell(B;\, C_B) + \ell(M;\, C_{\text{all}}) $$
"""

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
    """Experience replay in which new rows do not suppress old classes

    Paper: Caccia et al. 2022, arXiv 2104.05025
    Title: New Insights on Reducing Abrupt Representation Change in Online Continual Learning
    Authors: Lucas Caccia, Rahaf Aljundi, Nader Asadi, Tinne Tuytelaars, Joelle Pineau, Eugene Belilovsky
    Limits: Needs classes that come one after another. On tasks that share all classes its mask leaves out little, and
        it is close to ER.

    The cross-entropy of the stream's rows uses only the classes of their micro-batch and the classes that the stream
    has not had yet, as in the authors' code; the paper's formula leaves out the latter. The cross-entropy of the
    replayed rows uses all classes. The loss is the sum of the two means. In the first task nothing is masked. Each
    micro-batch of a window is masked by its own classes; one large batch would be masked by the classes of all its
    rows. Each micro-batch also draws its own `replay` rows. The authors' program uses a separate forward pass for
    replayed rows; here they share the micro-batch's pass, and so the statistics of BatchNorm.

    Args:
        memory: rows that it stores, in units of stream.memory_unit.
        replay: rows drawn for each micro-batch, without repetition, from the whole memory.
        kind: selection of stored rows: reservoir, each row with the same probability; ring, the latest rows of each
            class of each task; balanced, random rows with the same number for each class.
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
        return learner.criterion.mean(*batch.part("er_ace", out))

    def stepped(self, window: Window, learner: LearnerView) -> None:
        fill(self.memory, window)
