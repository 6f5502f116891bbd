"""Hindsight anchor learning, against its equations and against replay alone."""

from __future__ import annotations

import torch
from learners import built, distance, finished, learner, network, rows, stream, update, windows
from torch import Tensor, nn
from torch.func import functional_call

from gradinc.core.episodes import batch_of
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch
from gradinc.data.task import Task
from gradinc.methods.hal import HAL

TASK = torch.zeros(10, dtype=torch.int64)


def anchors() -> dict[str, Tensor]:
    """One point for each class, between the rows."""
    x, _ = rows(20)
    return {"x": x[:10] + 0.3 * x[10:], "y": torch.arange(10), "tasks": TASK}


def outputs(model: nn.Module, w: Tensor, x: Tensor) -> Tensor:
    names = [(name, p.shape) for name, p in model.named_parameters()]
    parts = w.split([shape.numel() for _, shape in names])
    named = {name: part.view(shape) for (name, shape), part in zip(names, parts, strict=True)}
    return functional_call(model, named, x)


def test_the_step_is_equation_3() -> None:
    mine, model = learner(HAL(strength=0.7)), network()
    mine.methods[0].anchors = anchors()
    w = mine.weights.value.clone().requires_grad_()
    first = next(windows(16, 4))
    update(mine, first)
    x, y = (torch.cat([getattr(batch, name) for batch in first]) for name in ("x", "y"))
    loss = nn.functional.cross_entropy(outputs(model, w, x), y)
    (g,) = torch.autograd.grad(loss, w)
    ahead = outputs(model, w.detach() - 0.1 * g, anchors()["x"]).detach()
    (pull,) = torch.autograd.grad((outputs(model, w, anchors()["x"]) - ahead).square().mean(), w)
    assert distance(mine.weights.value, w.detach() - 0.1 * (g + 0.7 * pull)) < 1e-12
    assert float(pull.norm()) > 1e-3 * float(g.norm()), "the anchors do pull"


class Fixed(HAL):
    """From known starting points, and with a known sample of the memory."""

    def _drawn(self, learner: LearnerView, random: torch.Generator) -> Batch:
        x, y = rows(30)
        return batch_of({"x": x, "y": y, "tasks": torch.zeros_like(y)}, 0)

    def _start(self, task: Task, learner: LearnerView, random: torch.Generator) -> Batch:
        return batch_of(anchors(), 0)


def test_anchors_climb_to_where_the_memory_alone_would_forget() -> None:
    mine, model = learner(Fixed(gamma=0.2, steps=7, finetune=2)), network()
    update(mine, next(windows(16, 4)))
    hal = mine.methods[0]
    w, phi = mine.weights.value.clone(), hal.mean
    x, y = rows(30)
    tuned = w
    for _ in range(2):
        at = tuned.clone().requires_grad_()
        (g,) = torch.autograd.grad(nn.functional.cross_entropy(outputs(model, at, x), y), at)
        tuned = tuned - 0.1 * g
    e = anchors()["x"]
    for _ in range(7):
        e = e.detach().requires_grad_()
        loss = [nn.functional.cross_entropy(outputs(model, v, e), anchors()["y"], reduction="sum") for v in (w, tuned)]
        hidden = torch.tanh(e @ w[: 16 * 64].view(16, 64).T + w[16 * 64 : 16 * 65])
        (slope,) = torch.autograd.grad(loss[0] - loss[1] + 0.2 * (hidden - phi).square().sum(), e)
        e = e - 0.1 * slope
    mine.end(Task(0, tuple(range(10)), *3 * (None,)))  # type: ignore[arg-type]
    assert distance(hal.anchors["x"], e.detach()) < 1e-12
    assert torch.equal(mine.weights.value, w), "the weights are back"


def test_without_a_pull_it_is_replay_from_a_ring() -> None:
    words = ("stream=permuted", "stream.tasks=2", "data.batch_size=100")
    found = {}
    for name in ("er", "hal"):
        more = (f"strategy={name}", f"strategy.methods.{name}.memory=40", f"strategy.methods.{name}.replay=40")
        more += ("strategy.methods.er.kind=ring",) if name == "er" else ("strategy.methods.hal.strength=0",)
        tasks = stream(*words, *more)
        found[name] = finished(built(tasks, *words, *more), tasks).weights.value
    assert torch.equal(found["er"], found["hal"])
    more = (*more[:-1], "strategy.methods.hal.strength=30")
    tasks = stream(*words, *more)
    assert distance(finished(built(tasks, *words, *more), tasks).weights.value, found["er"]) > 1e-3
