r"""The nearest gradient to g that harms no past task: g + Gᵀv, with G the past tasks' gradients.

$$ g \leftarrow \mathrm{arg\,min}_{\tilde g} \tfrac12 \lVert \tilde g - g\rVert^2 \quad \text{such that} \quad \tilde
g \cdot g_t \ge 0 \text{ for every past task } t $$
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gradinc.config.values import Count, Drawn, NonNegative
from gradinc.core.episodes import batch_of, check_share, drawn, rows_of, share
from gradinc.core.linalg import gramian, nonnegative_minimum, tiny
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_kind
from gradinc.core.view import LearnerView
from gradinc.data.task import Setting, Task


class GEM(Method):
    """Gradient episodic memory: no update may raise the loss of a past task

    Paper: Lopez-Paz & Ranzato 2017, arXiv 1706.08840, equation 11
    Title: Gradient Episodic Memory for Continual Learning
    Authors: David Lopez-Paz, Marc'Aurelio Ranzato
    Limits: Needs rows of each past task, and for each one more gradient in every window, so that the cost grows with
        the number of tasks. On Split MNIST it keeps about as much as replay from as many rows.

    If the gradient g has a negative product with the gradient of a past task's examples, it becomes g + Gᵀv with the
    v ≥ margin that minimises ½ vᵀ G Gᵀ v + gᵀ Gᵀ v; else it is not changed. The margin is as in the authors' program:
    a lower bound of v, so that no product becomes negative; their paper adds it to v afterwards. Their program adds
    0.001 to the diagonal of G Gᵀ, ``ridge=0.001``. It bounds v where a past task's gradient is small, so that products
    may stay negative. Without it, an update can be many times as long as the gradient once the network fits the stored
    examples: one of two runs of 17 permuted tasks fell to chance, and none of five with 0.001.
    Gradients on the memory are computed in training mode, like the window's gradient and as in the authors' program.
    The method costs a forward and a backward pass over each past task's examples per window. On a GPU each update waits
    for the products.

    Args:
        memory: stored examples, in units of stream.memory_unit; each task has the same share.
        margin: least weight of every past task's gradient if a product is negative; a larger margin favours past tasks.
        ridge: added to the diagonal of G Gᵀ; 0 as in the paper, 0.001 as in the authors' program.
        kind: selection of a task's examples: random, or balanced, random rows with the same number for each class.
    """

    state = ("memory", "task")
    role = "steers"
    needs_past = True
    reads_task = True

    def __init__(
        self,
        *,
        memory: Count = 256,
        margin: NonNegative = 0.5,
        ridge: NonNegative = 0.0,
        kind: Drawn = "random",
    ) -> None:
        self.capacity, self.margin, self.ridge, self.kind = memory, margin, ridge, kind
        self.memory: list[dict[str, Tensor]] = []  # for each past task: x, y, tasks
        self.task = 0

    def check(self, model: torch.nn.Module, setting: Setting) -> None:
        check_share("gem", self.capacity, setting)
        check_kind("gem", "kind", self.kind, "random", setting)

    def begin(self, task: Task, learner: LearnerView) -> None:
        self.task = task.index

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if not self.memory:
            return
        rows = torch.stack([*(learner.gradient(batch_of(rows_of(rows), self.task)) for rows in self.memory), g])
        gram = gramian(rows)
        squares, products = gram[:-1, :-1], gram[:-1, -1]
        harm = bool((products < 0).any())
        learner.note("violated", g.new_full((), harm))
        if not harm:
            learner.note("removed", g.new_zeros(()))
            return
        squares = squares + self.ridge * np.eye(len(squares))
        slope = -(products + self.margin * squares.sum(1))  # for s in v = margin + s
        v = self.margin + nonnegative_minimum(squares, slope, 100 * torch.finfo(g.dtype).eps)
        change = rows[:-1].T @ torch.as_tensor(v, dtype=g.dtype, device=g.device)
        learner.note("removed", change.norm() / g.norm().clamp(min=tiny(g)))
        g.add_(change)

    def end(self, task: Task, learner: LearnerView) -> None:
        rows = drawn(task, share(self.capacity, task.setting), learner.rng("gem"), self.kind)
        self.memory = [*self.memory, rows]
