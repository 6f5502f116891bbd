"""Windows on digits in float64: learners with a rule, micro-batches, and their gradients without the learner."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from learners import assembled
from torch import Tensor, nn

from gradinc.config.catalog import load_part, parts
from gradinc.config.schema import DataSection
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.core.rule import Rule
from gradinc.core.schedules import Schedule
from gradinc.data.batch import Batch
from gradinc.data.dataset import load_dataset

RULES = [part.name for part in parts("rule")]
"""Every rule there is: a new one is tested as soon as its file is there."""

RAGGED = (20, 20, 12, 20, 7)


def rule(name: str, **options: Any) -> Rule:
    made: Rule = load_part("rule", name)(**options)
    return made


@cache
def digits() -> tuple[Tensor, Tensor]:
    rows = load_dataset(DataSection("digits"), "cpu", torch.float64).train
    return rows.x.reshape(len(rows), -1), rows.y


def network(*, norm: bool = False, dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    layers: list[nn.Module] = [nn.Linear(64, 12), nn.Tanh()]
    layers += [nn.BatchNorm1d(12)] if norm else []
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(12, 10)).double()


def learner(
    rule: Rule,
    *,
    model: nn.Module | None = None,
    methods: tuple[Method, ...] = (),
    optimizer: str = "sgd",
    schedule: Schedule | None = None,
    **options: Any,
) -> Learner:
    return assembled(model or network(), *methods, rule=rule, optimizer=optimizer, schedule=schedule, **options)


def members(sizes: Sequence[int], *, first: int = 0, scale: Sequence[float] = ()) -> list[Batch]:
    """Micro-batches of these sizes, one after the other; `scale` multiplies the loss, and so the gradient, of each."""
    x, y = digits()
    batches = []
    for size, factor in zip(sizes, scale or [1.0] * len(sizes), strict=True):
        weight = None if factor == 1 else torch.full((size,), factor, dtype=torch.float64)
        batches.append(Batch(x[first : first + size], y[first : first + size], 0, float(size), weight))
        first += size
    return batches


def take(mine: Learner, batches: Sequence[Batch], size: int | None = None) -> None:
    """Fill a window, without the update that follows."""
    mine.open(sum(batch.items for batch in batches), size or len(batches))
    for batch in batches:
        mine.take(batch)


def update(mine: Learner, batches: Sequence[Batch]) -> None:
    take(mine, batches)
    mine.update()


def gradient(rule: Rule, batches: Sequence[Batch]) -> Tensor:
    """What the rule makes of the gradients of these micro-batches at fresh weights, shape (P,)."""
    mine = learner(rule)
    take(mine, batches)
    with torch.no_grad():
        assert mine.window.reduce(mine)
    return mine.weights.grad


def micro_gradient(batch: Batch, at: Tensor | None = None) -> Tensor:
    """The gradient of one micro-batch's mean loss at given or fresh weights, by plain PyTorch, shape (P,)."""
    model = network()
    if at is not None:
        nn.utils.vector_to_parameters(at, model.parameters())
    losses = F.cross_entropy(model(batch.x), batch.y, reduction="none")
    if batch.weight is not None:
        losses = losses * batch.weight
    (losses.sum() / batch.items).backward()
    return nn.utils.parameters_to_vector(p.grad for p in model.parameters())  # type: ignore[misc]


def micro_gradients(batches: Sequence[Batch], at: Tensor | None = None) -> Tensor:
    """Shape (K, P)."""
    return torch.stack([micro_gradient(batch, at) for batch in batches])
