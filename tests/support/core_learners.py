"""Learners on small real problems in float64, built by hand so that each part can be swapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from learners import assembled
from torch import Tensor, nn

from gradinc.config.schema import DataSection
from gradinc.core.due import Due
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.core.plan import plan
from gradinc.core.rule import Rule
from gradinc.core.schedules import Schedule
from gradinc.data.batch import Batch
from gradinc.data.dataset import load_dataset


@pytest.fixture(scope="session")
def digits() -> tuple[Tensor, Tensor]:
    """300 rows of digits, flat, float64, and their labels."""
    rows = load_dataset(DataSection("digits"), "cpu", torch.float64).train
    return rows.x[:300].reshape(300, -1), rows.y[:300]


def network(*, norm: bool = False, dropout: float = 0.0, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Linear(64, 16), nn.Tanh()]
    layers += [nn.BatchNorm1d(16)] if norm else []
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(16, 10)).double()


def learner(
    model: nn.Module,
    *,
    optimizer: str = "sgd",
    options: dict[str, Any] | None = None,
    rule: Rule | None = None,
    methods: tuple[Method, ...] = (),
    schedule: Schedule | None = None,
    due: Due | None = None,
    diagnostics: bool = False,
) -> Learner:
    options = options or {}
    return assembled(
        model, *methods, rule=rule, due=due, optimizer=optimizer, schedule=schedule, diagnostics=diagnostics, **options
    )


def epochs(rows: int, count: int) -> Iterator[Tensor]:
    for epoch in range(count):
        yield torch.randperm(rows, generator=torch.Generator().manual_seed(epoch))


def train(
    learner: Learner,
    data: tuple[Tensor, Tensor],
    *,
    batch_size: int,
    window: int,
    count: int = 3,
    weight: Callable[[Tensor], Tensor] | None = None,
    planned: Callable[[float], float] = lambda items: items,
) -> Tensor:
    """Train for some epochs in windows of micro-batches; return the weights, shape (P,)."""
    x, y = data
    for order in epochs(len(x), count):
        batches = order.split(batch_size)
        for span in plan(len(batches), window):
            members = []
            for rows in batches[span.first : span.first + span.count]:
                c = None if weight is None else weight(rows)
                items = float(len(rows)) if c is None else float(c.sum())
                members.append(Batch(x[rows], y[rows], 0, items, c))
            learner.open(planned(sum(batch.items for batch in members)), len(members))
            for batch in members:
                learner.take(batch)
            learner.update()
    return learner.weights.value
