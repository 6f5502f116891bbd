r"""g − min(g·ref, 0) / (ref·ref) ref, with ref the gradient on examples of past tasks.

$$ g \leftarrow g - \frac{\min(g \cdot g_{\text{ref}},\, 0)}{g_{\text{ref}} \cdot g_{\text{ref}}}\, g_{\text{ref}} $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Count, Drawn
from gradinc.core.episodes import batch_of, check_share, rows_of, sampled, with_examples
from gradinc.core.linalg import tiny
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_kind
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class AGEM(Method):
    """Averaged GEM: no update may raise the mean loss of past tasks

    Paper: Chaudhry et al. 2019, arXiv 1812.00420
    Title: Efficient Lifelong Learning with A-GEM
    Authors: Arslan Chaudhry, Marc'Aurelio Ranzato, Marcus Rohrbach, Mohamed Elhoseiny
    Limits: Needs rows of past tasks. One constraint for all of them keeps much less than replay where classes compete
        for the outputs (split, class-incremental); with the task known it comes near joint training.

    If the gradient would raise the loss on examples of past tasks, its component along their gradient is removed, once
    per window. Both gradients are computed in training mode, as in the authors' program. The memory has the same number
    of examples of every task, drawn from all of its rows when the task ends.

    Args:
        memory: stored examples, in units of stream.memory_unit; each task has the same share.
        sample: examples drawn from them for the comparison of each window.
        kind: selection of a task's examples: random, or balanced, random rows with the same number for each class, as
            in the authors' program.
    """

    state = ("memory", "chosen", "task")
    role = "steers"
    needs_past = True
    reads_task = True

    def __init__(self, *, memory: Count = 256, sample: Count = 256, kind: Drawn = "random") -> None:
        self.capacity, self.sample, self.kind = memory, sample, kind
        self.memory: dict[str, Tensor] = {}  # x, y, tasks
        self.chosen: Tensor | None = None  # this window's sample, if smaller than the memory
        self.task = 0

    def check(self, model: torch.nn.Module, setting: Setting) -> None:
        check_share("agem", self.capacity, setting)
        check_kind("agem", "kind", self.kind, "random", setting)

    def begin(self, task: Task, learner: LearnerView) -> None:
        self.task = task.index

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if self.chosen is None:  # once, with the window's first micro-batch
            self.chosen = sampled(self.memory, self.sample, learner.rng("agem"))
        return batch

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if not self.memory:
            return
        ref = self.reference(learner)
        product, square = torch.dot(g, ref), torch.dot(ref, ref).clamp(min=tiny(g))
        harm = product.clamp(max=0)
        learner.note("violated", product < 0)
        learner.note("removed", harm.abs() / (torch.dot(g, g) * square).sqrt().clamp(min=tiny(g)))
        g.addcmul_(ref, harm / square, value=-1)

    def reference(self, learner: LearnerView) -> Tensor:
        """Return the gradient on the window's examples of past tasks, shape (P,)."""
        rows, self.chosen = rows_of(self.memory, self.chosen), None
        return learner.gradient(batch_of(rows, self.task))

    def end(self, task: Task, learner: LearnerView) -> None:
        self.memory = with_examples(self.memory, task, self.capacity, learner.rng("agem"), self.kind)
