"""Learners that are assembled by hand from parts, so that each part can be swapped."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from gradinc.core import optimizers
from gradinc.core.corruption import CorruptPasses
from gradinc.core.criterion import Criterion, CrossEntropy
from gradinc.core.diagnostics import After, Before
from gradinc.core.due import Due
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.core.passes import Passes
from gradinc.core.place import Place
from gradinc.core.rate import Rate
from gradinc.core.rule import Rule
from gradinc.core.schedules import Schedule
from gradinc.core.weights import Weights
from gradinc.core.window import Window
from gradinc.dues.size import Size
from gradinc.rules.mean import Mean

torch.set_num_threads(1)


def assembled(
    model: nn.Module,
    *methods: Method,
    rule: Rule | None = None,
    due: Due | None = None,
    criterion: Criterion | None = None,
    optimizer: str = "sgd",
    schedule: Schedule | None = None,
    diagnostics: bool = False,
    corrupt: dict[str, Any] | None = None,
    autocast: torch.dtype | None = None,
    waits: Mapping[str, int] | None = None,
    first: Callable[[Window], dict[str, Method]] = lambda window: {},
    seed: int = 0,
    **options: Any,
) -> Learner:
    """A learner before its first task; the options that are left are the optimizer's."""
    weights = Weights(model, (), waits)
    place = Place(seed, weights.value.device)
    criterion = criterion or CrossEntropy()
    passes = (
        CorruptPasses(model, weights, criterion, place, autocast=autocast, **corrupt)
        if corrupt
        else Passes(model, weights, criterion, place, autocast=autocast)
    )
    rate = Rate(getattr(optimizers, optimizer)(weights, **{"lr": 0.1, **options}), schedule or Schedule("constant", {}))
    keeps = any(method.rereads for method in methods)
    window = Window(weights, rule or Mean(), due or Size(), keeps=keeps, notes=diagnostics)
    begins, ends = first(window), {}
    if diagnostics:
        begins["before"] = before = Before()
        ends["after"] = After(before, alone=not methods)
    named = {f"method{number}": method for number, method in enumerate(methods)}
    return Learner(passes, rate, window, named, first=begins, last=ends)


def distance(a: Tensor, b: Tensor) -> float:
    """The relative distance of two vectors."""
    return float((a - b).norm() / b.norm())
