"""Learners on 300 rows of digits in float64, with methods made by hand, and the loop that trains them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import torch
from learners import assembled
from torch import Tensor, nn

from gradinc.config.schema import DataSection
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.core.rule import Rule
from gradinc.data.batch import Batch
from gradinc.data.dataset import load_dataset
from gradinc.data.stream import Task

ROWS = 300


@cache
def task() -> Task:
    dataset = load_dataset(DataSection("digits"), "cpu", torch.float64)
    return Task(0, tuple(range(10)), dataset.train, dataset.validation, dataset.test)


def rows() -> tuple[Tensor, Tensor]:
    """300 rows, flat, and their labels."""
    train = task().train
    return train.x[:ROWS].reshape(ROWS, -1), train.y[:ROWS]


def network(*, norm: bool = False, dropout: float = 0.0, seed: int = 0, activation: type = nn.Tanh) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Linear(64, 16), activation()]
    layers += [nn.BatchNorm1d(16)] if norm else []
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(16, 10)).double()


def learner(
    *methods: Method,
    model: nn.Module | None = None,
    optimizer: str = "sgd",
    rule: Rule | None = None,
    **options: Any,
) -> Learner:
    """A learner at the beginning of its task; options are the optimizer's."""
    made = assembled(model or network(), *methods, rule=rule, optimizer=optimizer, **options)
    for method in methods:
        method.begin(task(), made)
    return made


def windows(batch_size: int, size: int, epochs: int = 2) -> Iterator[list[Batch]]:
    """The windows of some epochs; the last one of an epoch can be short, and its last micro-batch too."""
    x, y = rows()
    for epoch in range(epochs):
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(epoch))
        for window in order.split(batch_size * size):
            yield [Batch(x[part], y[part], 0, float(len(part))) for part in window.split(batch_size)]


def accumulate(learner: Learner, window: Sequence[Batch], dtype: torch.dtype = torch.float64) -> None:
    """Take a window's micro-batches, up to where its update is due."""
    learner.open(sum(batch.items for batch in window), len(window))
    for batch in window:
        learner.take(Batch(batch.x.to(dtype), batch.y, 0, batch.items))


def train(learner: Learner, batch_size: int, size: int, epochs: int = 2, dtype: torch.dtype = torch.float64) -> Tensor:
    """Train to the end of the task; return the weights, shape (P,)."""
    for window in windows(batch_size, size, epochs):
        accumulate(learner, window, dtype)
        learner.update()
    for method in learner.methods:
        method.end(task(), learner)
    return learner.weights.value


def loss_and_gradient(model: nn.Module, weights: Tensor, window: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """The slow reference: the mean loss over all rows of a window at any weights, and its gradient."""
    names, shapes = zip(*((name, p.shape) for name, p in model.named_parameters()), strict=True)
    parts = weights.split([shape.numel() for shape in shapes])
    leaves = [part.reshape(shape).detach().requires_grad_() for part, shape in zip(parts, shapes, strict=True)]
    x, y = torch.cat([b.x for b in window]), torch.cat([b.y for b in window])
    out = torch.func.functional_call(model, dict(zip(names, leaves, strict=True)), (x,))
    loss = nn.functional.cross_entropy(out, y)
    return loss.detach(), torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, leaves)])
