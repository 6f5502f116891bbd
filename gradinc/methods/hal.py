r"""ℓ(B ∪ M) + λ ‖f(e; w) − f(e; w̃)‖² at anchors e, with w̃ the weights after a step on B ∪ M alone.

$$ \ell(B \cup M) + \lambda\, \lVert f_w(e) - f_{\tilde w}(e)\rVert^2, \quad \tilde w = w - \eta\, \nabla \ell(B \cup M)
$$
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Decay, Kept, Strength
from gradinc.core.episodes import batch_of
from gradinc.core.herding import last_features
from gradinc.core.memory import make_memory
from gradinc.core.method import Method
from gradinc.core.rehearsal import (
    check_classes,
    check_memory,
    distance_from_stored,
    drawn_slots,
    fill,
    open_memory,
    replay,
)
from gradinc.core.view import LearnerView
from gradinc.core.weights import output_layer
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class HAL(Method):
    """Hindsight anchor learning: replay, and fixed outputs at learned points

    Paper: Chaudhry et al. 2021, arXiv 2002.08165, equations 3 and 4
    Title: Using Hindsight to Anchor Past Knowledge in Continual Learning
    Authors: Arslan Chaudhry, Albert Gordo, Puneet K. Dokania, Philip H. S. Torr, David Lopez-Paz
    Limits: Needs more than twice the rows of ER through the model, and at the end of each task further training to find
        its anchors.

    When a task ends, one anchor is learned for each of its classes: from random pixels, plain gradient steps raise the
    loss that a copy of the weights has after steps on the memory alone, lower the loss of the weights themselves, and
    keep the last hidden layer near its mean φ over the task. φ is an exponential average over the task's updates and
    starts at 0. The distance at the anchors is the mean over anchors and outputs, in evaluation mode, and w̃ is plain
    gradient descent's. Each micro-batch of a window draws its own `replay` rows, and the window has one distance.

    Args:
        memory: rows that it stores, in units of stream.memory_unit.
        replay: rows drawn for each micro-batch, without repetition, from the whole memory.
        strength: λ.
        gamma: γ, weight of the distance to φ.
        beta: β, share of φ that an update keeps.
        steps: gradient steps for an anchor, with the learning rate of the run.
        finetune: steps of the copy, each on `replay` rows; the paper makes one pass over its memory.
        kind: selection of stored rows: reservoir, each row with the same probability; ring, the latest rows of each
            class of each task, as in the paper; balanced, random rows with the same number for each class.
    """

    state = ("memory", "anchors", "mean")
    rereads = True

    def __init__(
        self,
        *,
        memory: Count = 500,
        replay: Count = 32,
        strength: Strength = 0.1,
        gamma: Strength = 0.1,
        beta: Decay = 0.5,
        steps: Count = 100,
        finetune: Count = 1,
        kind: Kept = "ring",
    ) -> None:
        self.capacity, self.replay, self.strength, self.kind = memory, replay, strength, kind
        self.gamma, self.beta, self.steps, self.finetune = gamma, beta, steps, finetune
        self.memory = make_memory(kind)
        self.anchors: dict[str, Tensor] = {}  # x, y, tasks
        self.mean = torch.empty(0)  # φ, shape (units,)

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_classes("hal", setting)
        check_memory("hal", self.kind, self.capacity, setting)
        if setting.text is not None:
            what = "learns its anchors by gradients of the input, and tokens have none"
            raise UserError("strategy.methods.hal", what, "Use er, der or fdr")
        if output_layer(model) is None:
            raise UserError("strategy.methods.hal", "the model has no linear output layer", "Use another model")

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, "hal")
        self.mean = torch.empty(0)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        return replay(batch, self.memory, self.replay, learner, "hal")

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        if not self.anchors:
            return
        rows, value = batch_of(self.anchors, learner.place.task), learner.weights.value
        now = value.clone()
        value.sub_(learner.lr * g)
        rows = replace(rows, kept={"logits": learner.outputs(rows)})
        value.copy_(now)

        def moved(batch: Batch, out: Tensor) -> Tensor:
            return distance_from_stored(batch, out, learner)

        g.add_(learner.gradient(rows, moved, evaluated=True), alpha=self.strength)

    def stepped(self, window: Window, learner: LearnerView) -> None:
        fill(self.memory, window)
        with last_features(learner.model) as found:
            for batch in window.batches:
                learner.outputs(batch.rows(0, batch.fresh))
        mean = torch.cat(found).mean(0)
        self.mean = (torch.zeros_like(mean) if not len(self.mean) else self.mean).lerp(mean, 1 - self.beta)

    def end(self, task: Task, learner: LearnerView) -> None:
        value, random = learner.weights.value, learner.rng("hal_anchors")
        now = value.clone()
        for _ in range(self.finetune):
            value.sub_(learner.lr * learner.gradient(self._drawn(learner, random)))
        tuned = value.clone()
        own = self._start(task, learner, random)
        with last_features(learner.model) as found:

            def kept(batch: Batch, out: Tensor) -> Tensor:
                return learner.criterion(batch, out) + self.gamma * (found[-1] - self.mean).square().sum(1)

            for _ in range(self.steps):
                value.copy_(tuned)
                forgotten = learner.input_gradient(own)
                value.copy_(now)
                own = replace(own, x=own.x - learner.lr * (learner.input_gradient(own, kept) - forgotten))
                found.clear()
        fresh = {"x": own.x, "y": own.y, "tasks": own.task_of_rows}
        self.anchors = {k: torch.cat((self.anchors[k], field)) if self.anchors else field for k, field in fresh.items()}

    def _drawn(self, learner: LearnerView, random: torch.Generator) -> Batch:
        slots = drawn_slots(self.memory, self.replay, random)
        return batch_of(self.memory.rows(slots), learner.place.task)

    def _start(self, task: Task, learner: LearnerView, random: torch.Generator) -> Batch:
        """Return an anchor for each class of the task, uniform between 0 and 1 in input units."""
        assert task.classes is not None
        y = torch.tensor(task.classes, device=random.device)
        like = self.memory.rows(torch.zeros_like(y[:1]))["x"]
        x = torch.rand((len(y), *like.shape[1:]), generator=random, dtype=like.dtype, device=like.device)
        if task.setting.mean:
            per_channel = (-1, *[1] * (like.dim() - 2))
            mean, std = (like.new_tensor(each).view(per_channel) for each in (task.setting.mean, task.setting.std))
            x = (x - mean) / std
        return batch_of({"x": x, "y": y, "tasks": torch.full_like(y, task.index)}, task.index)
