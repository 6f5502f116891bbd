r"""ℓ(B) + α E ‖p(x) − p*(x)‖ over rows of a memory, with p* the probabilities at the end of their task.

$$ \ell(B) + \alpha\, \mathbb{E}_{x \in M} \lVert p_w(x) - p^*(x)\rVert $$
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from gradinc.config.values import Count, Strength
from gradinc.core.memory import Balanced
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_classes, open_memory, replay
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class FDR(Method):
    """Function-distance regularisation: stay near the outputs of past tasks

    Paper: Benjamin et al. 2018, arXiv 1805.08289
    Title: Measuring and regularizing networks in function space
    Authors: Ari S. Benjamin, David Rolnick, Konrad Kording
    Limits: Needs stored rows with their outputs at the end of their task. On Split MNIST with 200 rows it keeps about
        as much as ER.

    At a task's end random rows of it are stored with the model's softmax in evaluation mode; tasks share the memory
    evenly. The L2 distance of each row's probabilities is averaged over the rows drawn for a micro-batch.
    The loss and the distance are one objective, and share one forward pass and so the statistics of BatchNorm; in
    ``fdr_ahead`` they make two steps. The term is absent in the first task.

    Args:
        memory: rows that it stores, in units of stream.memory_unit.
        replay: rows drawn for each micro-batch, without repetition, from the whole memory.
        alpha: α.
    """

    name: ClassVar[str] = "fdr"
    state = ("memory",)
    needs_past = True
    reads_task = True

    def __init__(self, *, memory: Count = 500, replay: Count = 32, alpha: Strength = 1.0) -> None:
        self.capacity, self.replay, self.alpha = memory, replay, alpha
        self.memory = Balanced(by="task")

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_classes(self.name, setting)

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, self.name)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        return replay(batch, self.memory, self.replay, learner, "fdr", weight=0.0)

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        if "fdr" not in batch.parts:
            return out.new_zeros(())
        return self.alpha * distances(*batch.part("fdr", out), learner).mean()

    def end(self, task: Task, learner: LearnerView) -> None:
        for rows in task.batches(256, rows=self.memory.capacity, random=learner.rng(f"{self.name}_rows")):
            softmax = learner.criterion.seen(rows, learner.outputs(rows)).softmax(1)
            self.memory.add(x=rows.x, y=rows.y, tasks=rows.task_of_rows, softmax=softmax)


def distances(rows: Batch, out: Tensor, learner: LearnerView) -> Tensor:
    """Return ‖p(x) − p*(x)‖ of each row, shape (rows,)."""
    moved = learner.criterion.seen(rows, out).softmax(1) - rows.kept["softmax"]
    # Without the 1e-12 a row with a distance of rounding only would have a gradient as large as any other row's.
    return (moved.square().sum(1) + 1e-12).sqrt()
