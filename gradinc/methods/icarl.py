r"""ℓ(B ∪ M) + α Σ over old outputs of BCE(z, σ(z*/T)), with z* the old model's outputs; the nearest mean classifies.

$$ \ell(B \cup M) + \alpha \sum_{j \text{ old}} \mathrm{BCE}\left(z_j, \sigma(z_j^* / T)\right), \qquad \hat y =
\mathrm{arg\,min}_c \lVert \phi(x) - \mu_c\rVert $$
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import normalize

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Positive, Strength, Whole
from gradinc.core.criterion import BinaryCrossEntropy, CrossEntropy, one_hot
from gradinc.core.herding import FEATURES_TOGETHER, herded, last_features, nearest_mean
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_classes
from gradinc.core.teacher import remembered, taught
from gradinc.core.view import LearnerView
from gradinc.core.weights import output_layer
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class Icarl(Method):
    """iCaRL: herded exemplars, an old model as teacher, and the nearest mean

    Paper: Rebuffi et al. 2017, arXiv 1611.07725
    Title: iCaRL: Incremental Classifier and Representation Learning
    Authors: Sylvestre-Alvise Rebuffi, Alexander Kolesnikov, Georg Sperl, Christoph H. Lampert
    Limits: Needs classes that belong to one task, so it does not work on permuted or rotated tasks. It classifies by
        means of exemplars: a class with few exemplars has a poor mean.

    When a task ends, the memory is shared evenly between all classes so far: a new class gets the rows whose running
    mean stays nearest to its mean in the last hidden layer, and an old class keeps the first of its rows. Evaluation
    takes the class whose mean of exemplars is nearest, instead of the largest output; during a task, whose classes have
    no exemplars yet, it takes the largest output. With ``criterion=binary_cross_entropy`` and
    ``stream.train_logits=seen`` the loss is the paper's, divided by the number of classes so far: new classes have the
    labels as targets, and old classes the old model's outputs in place of the labels. With another criterion the old
    outputs' term is added to it. The paper trains on all exemplars with the new data, and here on `replay` of them in
    each micro-batch.

    Args:
        memory: exemplars of all classes together, in units of stream.memory_unit.
        replay: exemplars in each micro-batch; with 0 they only classify.
        alpha: weight of the old outputs.
        temperature: T, by which the old model's outputs are divided, and the new ones are not. 1 in the paper; 2 in the
            program of van de Ven & Tolias 2019 (arXiv 1904.07734), where it is worth two points on Split MNIST.
    """

    state = ("rows", "teacher", "herded")
    needs_past = True
    reads_task = True

    def __init__(
        self, *, memory: Count = 200, replay: Whole = 32, alpha: Strength = 1.0, temperature: Positive = 1.0
    ) -> None:
        self.capacity, self.replay, self.alpha, self.temperature = memory, replay, alpha, temperature
        self.rows: dict[str, Tensor] = {}  # x, y and tasks of the exemplars, and the rank of each in its class
        self.teacher: list[Tensor] = []
        self.herded = 0  # tasks whose classes have exemplars

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_classes("icarl", setting)
        if output_layer(model) is None:
            raise UserError("strategy=icarl", "the model has no linear output layer", "Use another model")
        if setting.pairs > setting.classes:
            what = "gives each class to one task, and the tasks of this stream share their classes"
            raise UserError("strategy=icarl", what, "Use stream=split, or strategy=er")
        if setting.capacity(self.capacity) < setting.classes:
            what = f"leaves less than one exemplar for each of {setting.classes} classes"
            fix = f"Use {setting.least(setting.classes)} or more{setting.per}"
            raise UserError(f"strategy.methods.icarl.memory={self.capacity}", what, fix)

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if not self.teacher:
            return batch
        held = self.rows["y"]
        chosen = torch.randperm(len(held), generator=learner.rng("icarl"), device=held.device)[: self.replay]
        x, y, tasks = (self.rows[name].index_select(0, chosen) for name in ("x", "y", "tasks"))
        batch = batch.replaying(x, y, tasks, names=["icarl_replay"])
        logits = taught(self.teacher, batch, learner)
        return replace(batch.keeping("icarl", 0, len(batch.y), logits=logits), heads=tuple(range(batch.task)))

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        if "icarl" not in batch.parts:
            return out.new_zeros(())
        rows, out = batch.part("icarl", out)
        assert isinstance(learner.criterion, CrossEntropy)
        outputs = learner.criterion.outputs
        assert outputs is not None
        old = (outputs.of_task[: batch.task] == 0).any(0)
        wanted = (rows.kept["logits"] / self.temperature).sigmoid()
        if not isinstance(learner.criterion, BinaryCrossEntropy):
            each = F.binary_cross_entropy_with_logits(out, wanted, reduction="none")
            return self.alpha * torch.where(old, each, 0.0).sum(1).mean()
        errors, logits = learner.criterion.errors, learner.criterion.seen(rows, out)
        # The criterion has already counted the old outputs with the labels as their targets.
        each = self.alpha * errors(logits, wanted) - errors(logits, one_hot(logits, rows.y))
        changes, weights = torch.where(old, each, 0.0).sum(1), learner.criterion.weights_for(out)
        return changes.mean() if weights is None else (changes * weights[rows.y]).sum() / weights[rows.y].sum()

    @torch.no_grad()
    def end(self, task: Task, learner: LearnerView) -> None:
        self.teacher, self.herded = remembered(learner), task.index + 1
        features, labels = self._features(task, learner)
        old = self.rows["y"].unique() if self.rows else labels[:0]
        new = [label for label in labels.unique().tolist() if label not in set(old.tolist())]
        share = task.setting.capacity(self.capacity) // (len(old) + len(new))
        kept = {name: field[self.rows["rank"] < share] for name, field in self.rows.items()}
        chosen = []
        for label in new:
            own = (labels == label).nonzero().squeeze(1)
            chosen.append(own[herded(features[own], share)])
        ranks = torch.cat([torch.arange(len(each), device=labels.device) for each in chosen])
        fresh = {**self._taken(task, torch.cat(chosen)), "rank": ranks}
        self.rows = {name: torch.cat((kept[name], field)) if kept else field for name, field in fresh.items()}

    def classifier(self, learner: LearnerView) -> Callable[[Tensor], Tensor] | None:
        if self.herded <= learner.place.task:
            return None
        assert isinstance(learner.criterion, CrossEntropy)
        outputs = learner.criterion.outputs
        assert outputs is not None
        return nearest_mean(learner.model, self.rows["x"], self.rows["y"], outputs.of_task.shape[1])

    def _features(self, task: Task, learner: LearnerView) -> tuple[Tensor, Tensor]:
        """Return the features of a task's training rows, each of length 1, shape (rows, units), and their labels."""
        labels = []
        with last_features(learner.model) as found:
            for batch in task.batches(FEATURES_TOGETHER):
                learner.outputs(batch)
                labels.append(batch.y)
        return normalize(torch.cat(found)), torch.cat(labels)

    def _taken(self, task: Task, numbers: Tensor) -> dict[str, Tensor]:
        """Return training rows of a task by their numbers, in this order."""
        order, first, parts = numbers.argsort(), 0, []
        sorted_numbers = numbers[order]
        for batch in task.batches(FEATURES_TOGETHER):
            inside = (sorted_numbers >= first) & (sorted_numbers < first + len(batch.y))
            own = sorted_numbers[inside] - first
            parts.append((batch.x[own], batch.y[own]))
            first += len(batch.y)
        x, y = (torch.cat(field)[order.argsort()] for field in zip(*parts, strict=True))
        return {"x": x, "y": y, "tasks": torch.full_like(y, task.index)}
