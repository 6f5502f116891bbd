r"""g + (ℓ_ref / ℓ) g_ref, or g turned towards g_ref by the angle that ℓ and ℓ_ref ask for.

$$ g \leftarrow g + \frac{\ell_{\text{ref}}}{\ell}\, g_{\text{ref}} $$
"""

from __future__ import annotations

from typing import Literal

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


class MEGA(Method):
    """Mixed stochastic gradient: weigh past and new examples by their losses

    Paper: Guo et al. 2020, arXiv 1909.11763, equations 5 and 6
    Title: Improved Schemes for Episodic Memory-based Lifelong Learning
    Authors: Yunhui Guo, Mingrui Liu, Tianbao Yang, Tajana Rosing
    Limits: Needs rows of past tasks and a second gradient in every window. It weighs two gradients by their losses, so
        rows that were learned by heart no longer hold anything.

    ℓ and g are of the window, ℓ_ref and g_ref of examples of past tasks. ``I`` adds the gradients with the weights 1
    and ℓ_ref / ℓ; if ℓ is about 0, only g_ref is left. ``II`` keeps the length of g and turns it by the angle β in
    [0, π/2] that maximises ℓ cos β + ℓ_ref cos(θ − β), with θ the angle between the two gradients:
    tan β = ℓ_ref sin θ / (ℓ + ℓ_ref cos θ). The authors' program climbs to this maximum from three random angles. The
    memory has the same number of examples of every task, drawn from all of its rows when the task ends.

    Args:
        memory: stored examples, in units of stream.memory_unit; each task has the same share.
        sample: examples drawn from them for each window.
        kind: I or II.
        memory_kind: selection of a task's examples: random, or balanced, random rows with the same number for each
            class.
    """

    state = ("memory", "drawn", "task")
    rereads = True
    needs_past = True
    reads_task = True

    def __init__(
        self,
        *,
        memory: Count = 256,
        sample: Count = 256,
        kind: Literal["I", "II"] = "II",
        memory_kind: Drawn = "random",
    ) -> None:
        self.capacity, self.sample, self.kind, self.memory_kind = memory, sample, kind, memory_kind
        self.memory: dict[str, Tensor] = {}  # x, y, tasks
        self.drawn: Tensor | None = None  # this window's sample, if smaller than the memory
        self.task = 0

    def check(self, model: torch.nn.Module, setting: Setting) -> None:
        check_share("mega", self.capacity, setting)
        check_kind("mega", "memory_kind", self.memory_kind, "random", setting)

    def begin(self, task: Task, learner: LearnerView) -> None:
        self.task = task.index

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if self.drawn is None:  # once, with the window's first micro-batch
            self.drawn = sampled(self.memory, self.sample, learner.rng("mega"))
        return batch

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if not self.memory:
            return
        rows, self.drawn = rows_of(self.memory, self.drawn), None
        losses: list[Tensor] = []

        def objective(batch: Batch, out: Tensor) -> Tensor:
            loss = learner.criterion(batch, out)
            losses.append(loss.detach().sum() / batch.items)
            return loss

        ref = learner.gradient(batch_of(rows, self.task), objective)
        g.copy_((added if self.kind == "I" else turned)(g, ref, learner.window_loss(), losses[0]))
        learner.note("loss_ratio", losses[0] / learner.window_loss().clamp(min=tiny(g)))

    def end(self, task: Task, learner: LearnerView) -> None:
        self.memory = with_examples(self.memory, task, self.capacity, learner.rng("mega"), self.memory_kind)


def added(g: Tensor, ref: Tensor, loss: Tensor, past: Tensor) -> Tensor:
    """Return MEGA-I's gradient; the authors' bound below which a loss counts as 0 is 1e-10."""
    nothing = loss <= 1e-10
    return torch.where(nothing, ref, g + past / torch.where(nothing, 1.0, loss) * ref)


def turned(g: Tensor, ref: Tensor, loss: Tensor, past: Tensor) -> Tensor:
    """Return MEGA-II's gradient, which has the length of g; parallel gradients leave g as it is."""
    length, other = g.norm(), ref.norm()
    cosine = (torch.dot(g, ref) / (length * other).clamp(min=tiny(g))).clamp(-1, 1)
    theta = cosine.acos()
    sine = theta.sin()
    beta = torch.atan2(past * sine, loss + past * cosine).clamp(0, torch.pi / 2)
    parallel = sine <= torch.finfo(g.dtype).eps ** 0.5
    safe = torch.where(parallel, 1.0, sine)
    mixed = g * ((theta - beta).sin() / safe) + ref * (beta.sin() / safe * length / other.clamp(min=tiny(g)))
    return torch.where(parallel, g, mixed)
