"""Statistics of a finished task are taken of the model as it is evaluated: without dropout, with running statistics."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from learners import built, micro_batches, steps, stream
from torch import Tensor, nn

from gradinc.core.learner import Learner
from gradinc.core.normalization import hold_statistics
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.dues.size import Size
from gradinc.methods.ewc import EWC
from gradinc.methods.gss import GSS
from gradinc.methods.mas import MAS
from gradinc.methods.ogd import OGD
from gradinc.rules.mean import Mean

PERMUTED = ("stream=permuted", "stream.tasks=2")
DROPOUT = ("model.dropout=0.5",)
BATCHNORM = ("model=cnn", "model.width=3", "model.depth=1", "model.norm=batch")
MODELS = pytest.mark.parametrize("words", [DROPOUT, BATCHNORM], ids=["dropout", "batchnorm"])


def trained(*words: str) -> tuple[Learner, Any]:
    """A learner in the middle of its first task, with running statistics that are not those of any batch."""
    tasks = stream(*PERMUTED)
    made = built(tasks, *PERMUTED, *words)
    made.model.train()
    for place in steps(made, tasks, count=16):
        if place == (0, 13):
            break
    return made, tasks[0]


def by_hand(made: Learner, rows: Batch, objective: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The slow reference: the gradient of each row's objective, one row after the other, shape (rows, P)."""
    model = copy.deepcopy(made.model).eval()
    weights = [p for p in model.parameters() if p.requires_grad]
    gradients = []
    for x, y in zip(rows.x, rows.y, strict=True):
        out = model(x[None])
        parts = torch.autograd.grad(objective(out, y[None]), weights)
        gradients.append(torch.cat([part.reshape(-1) for part in parts]))
    return torch.stack(gradients)


def cross_entropy(out: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(out, y)


def squared_norm(out: Tensor, y: Tensor) -> Tensor:
    return out.square().sum()


def drawn(made: Learner, task: Any, purpose: str, count: int) -> Batch:
    """The rows that a method takes, in one batch."""
    (batch,) = task.batches(count, rows=count, random=made.rng(purpose))
    return batch


class Planted:
    """A learner whose gradients are those of training, whatever is asked for."""

    def __init__(self, made: Learner) -> None:
        self._made = made

    def __getattr__(self, name: str) -> Any:
        return getattr(self._made, name)

    def gradient(self, batch: Batch, objective: Any = None, *, evaluated: bool = False) -> Tensor:
        return self._made.gradient(batch, objective)

    def row_gradients(self, batch: Batch, objective: Any = None, *, evaluated: bool = False) -> Any:
        return self._made.row_gradients(batch, objective)


@MODELS
def test_the_fisher_is_that_of_a_hand_written_loop_in_evaluation_and_not_in_training(words: tuple[str, ...]) -> None:
    made, task = trained(*words)
    wanted = by_hand(made, drawn(made, task, "ewc", 40), cross_entropy).square().mean(0)
    right, wrong = EWC(rows=40), EWC(rows=40)
    right.end(task, made)
    torch.testing.assert_close(right.fisher, wanted, rtol=1e-10, atol=1e-14)
    wrong.end(task, Planted(made))  # type: ignore[arg-type]
    assert wrong.fisher is not None
    assert float((wrong.fisher - wanted).norm() / wanted.norm()) > 0.1


@MODELS
def test_the_squared_mean_of_some_rows_is_that_of_evaluation_too(words: tuple[str, ...]) -> None:
    made, task = trained(*words)
    wanted = by_hand(made, drawn(made, task, "ewc", 40), cross_entropy).mean(0).square()
    method = EWC(rows=40, fisher="batch", batch=40)
    method.end(task, made)
    torch.testing.assert_close(method.fisher, wanted, rtol=1e-9, atol=1e-14)


@MODELS
def test_the_importance_of_mas_is_that_of_evaluation_and_not_of_training(words: tuple[str, ...]) -> None:
    made, task = trained(*words)
    wanted = by_hand(made, drawn(made, task, "mas", 40), squared_norm).abs().mean(0)
    right, wrong = MAS(rows=40), MAS(rows=40)
    right.end(task, made)
    torch.testing.assert_close(right.importance, wanted, rtol=1e-10, atol=1e-14)
    wrong.end(task, Planted(made))  # type: ignore[arg-type]
    assert wrong.importance is not None
    assert float((wrong.importance - wanted).norm() / wanted.norm()) > 0.1


@MODELS
def test_the_scores_of_gss_are_those_of_evaluation(words: tuple[str, ...]) -> None:
    made, task = trained(*words)
    (old, new) = micro_batches(task, 2, 12)
    kept = {"x": old.x, "y": old.y, "tasks": old.task_of_rows, "score": torch.ones(12, dtype=torch.float64)}

    def scores(given: Any) -> Tensor:
        """Those with which a window of new rows comes into a memory that has room for them."""
        method = GSS(memory=24, compare=12)
        method.begin(task, made)
        method.memory.place(torch.arange(12), torch.arange(12), **kept)
        window = Window(made.weights, Mean(), Size(), keeps=True)
        window.batches.append(new)
        method.stepped(window, given)
        return method.memory.rows()["score"][12:]

    gradients, others = by_hand(made, new, cross_entropy), by_hand(made, old, cross_entropy)
    wanted = F.cosine_similarity(gradients[:, None], others[None], dim=2).amax(1) + 1
    torch.testing.assert_close(scores(made), wanted, rtol=1e-9, atol=1e-12)
    assert float((scores(Planted(made)) - wanted).abs().max()) > 0.01


@MODELS
def test_the_directions_of_ogd_are_those_of_evaluation(words: tuple[str, ...]) -> None:
    made, task = trained(*words)
    method = OGD(memory=20)
    (rows,) = task.batches(32, rows=10, random=made.rng("ogd"))  # half of the memory: there are two tasks
    wanted = by_hand(made, rows, lambda out, y: out[0, y[0]])
    method.end(task, made)
    assert method.basis is not None
    assert len(method.basis) == 10
    held, free = wanted.clone(), torch.randn(len(made.weights)).double()
    for row in held:
        method.transform(row, made)
    torch.testing.assert_close(held, torch.zeros_like(held), rtol=0, atol=1e-12 * float(wanted.norm()))
    method.transform(free, made)
    torch.testing.assert_close(wanted @ free, torch.zeros(10).double(), rtol=0, atol=1e-12 * float(wanted.norm()))
    assert float(free.norm()) > 1


@pytest.mark.parametrize("make", [EWC, partial(EWC, fisher="true"), partial(EWC, fisher="batch"), MAS])
@MODELS
def test_it_leaves_no_trace(words: tuple[str, ...], make: Any) -> None:
    made, task = trained(*words)
    hold_statistics(made.model)  # a normalisation that another method holds is still held afterwards
    modes = [module.training for module in made.model.modules()]
    before = copy.deepcopy(made.model.state_dict())
    drawn_next, grad = torch.get_rng_state(), made.weights.grad.clone()
    make(rows=40).end(task, made)
    assert torch.equal(torch.get_rng_state(), drawn_next)
    assert torch.equal(made.weights.grad, grad)
    for name, value in made.model.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert [module.training for module in made.model.modules()] == modes


def test_a_pass_in_evaluation_does_not_set_a_held_normalisation_free():
    made, task = trained(*BATCHNORM)
    hold_statistics(made.model)
    (batch,) = micro_batches(task, 1, 8)
    for look in (made.outputs, made.input_gradient, made.gradient):
        look(batch)  # type: ignore[operator]
        norms = [module for module in made.model.modules() if isinstance(module, nn.BatchNorm2d)]
        assert [module.training for module in norms] == [False]
        assert made.model.training


def test_the_gradient_that_a_step_is_made_of_is_still_that_of_training():
    """What gem and agem compare with the window's gradient has the masks and the statistics of training."""
    made, task = trained(*DROPOUT)
    (batch,) = micro_batches(task, 1, 40)
    inside = made.gradient(batch, evaluated=True)
    torch.testing.assert_close(inside, by_hand(made, batch, cross_entropy).mean(0), rtol=1e-9, atol=1e-14)
    assert float((made.gradient(batch) - inside).norm() / inside.norm()) > 0.1
