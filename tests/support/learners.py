"""Small learners on digits in float64, what they are trained on, and the slow loops that they are compared with.

`learner` joins parts made by hand, so that each can be swapped; `built` is the learner that a command builds.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradinc.config.catalog import load_part, parts
from gradinc.config.compose import load_config
from gradinc.config.schema import Config
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
from gradinc.data.batch import Batch
from gradinc.data.dataset import Dataset, load_dataset
from gradinc.data.stream import Stream, open_stream
from gradinc.data.task import Task
from gradinc.dues.size import Size
from gradinc.rules.mean import Mean
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model

torch.set_num_threads(1)

SMALL = ("data=digits", "model=mlp", "model.width=12", "model.depth=1", "dtype=float64", "optimizer.momentum=0")
RULES = [part.name for part in parts("rule")]
"""Every rule there is: a new one is tested as soon as its file is there."""
RAGGED = (20, 20, 12, 20, 7)
"""Rows of the micro-batches of a window that are not all of one size."""
ROWS = 300
"""Rows of an epoch of `train`."""


# ---- what all are compared by ----


def distance(a: Tensor, b: Tensor) -> float:
    """The relative distance of two vectors."""
    return float((a - b).norm() / b.norm())


def same(a: Any, b: Any) -> bool:
    """Whether two states have the same types, keys and bits."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return type(a) is type(b) and bool(a == b)


def restored(learner: Learner, make: Callable[[], Learner]) -> Learner:
    """Another learner that resumes from what a checkpoint holds of this one."""
    file = io.BytesIO()
    torch.save(learner.state_dict(), file)
    file.seek(0)
    other = make()
    other.load_state_dict(torch.load(file, weights_only=True))
    return other


# ---- learners of parts made by hand ----


def network(
    *, norm: bool = False, dropout: float = 0.0, seed: int = 0, activation: type[nn.Module] = nn.Tanh
) -> nn.Module:
    torch.manual_seed(seed)
    layers: list[nn.Module] = [nn.Linear(64, 16), activation()]
    layers += [nn.BatchNorm1d(16)] if norm else []
    layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*layers, nn.Linear(16, 10)).double()


def learner(
    *methods: Method,
    model: nn.Module | None = None,
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
    """A learner at the beginning of its only task; the options that are left are the optimizer's."""
    model = model or network()
    weights = Weights(model, (), waits)
    place = Place(seed, weights.value.device)
    criterion = criterion or CrossEntropy()
    passes = (
        CorruptPasses(model, weights, criterion, place, autocast=autocast, **corrupt)
        if corrupt
        else Passes(model, weights, criterion, place, autocast=autocast, by_row=rule is not None and rule.by_row)
    )
    rate = Rate(getattr(optimizers, optimizer)(weights, **{"lr": 0.1, **options}), schedule or Schedule("constant", {}))
    keeps = any(method.rereads for method in methods)
    window = Window(weights, rule or Mean(), due or Size(), keeps=keeps, notes=diagnostics)
    begins, ends = first(window), {}
    if diagnostics:
        begins["before"] = before = Before()
        ends["after"] = After(before, alone=not methods)
    named = {f"method{number}": method for number, method in enumerate(methods)}
    made = Learner(passes, rate, window, named, first=begins, last=ends)
    made.begin(task())
    return made


def rule(name: str, **options: Any) -> Rule:
    made: Rule = load_part("rule", name)(**options)
    return made


# ---- rows, micro-batches and windows ----


@cache
def digits(dtype: torch.dtype = torch.float64) -> Dataset:
    return load_dataset(config().data, "cpu", dtype)


@cache
def task() -> Task:
    """All of digits as one task."""
    return Task(0, tuple(range(10)), digits().train, digits().validation, digits().test)


@cache
def rows(count: int | None = None) -> tuple[Tensor, Tensor]:
    """The first training rows, flat, shape (count, 64), and their labels."""
    x, y = digits().train.x[:count], digits().train.y[:count]
    return x.reshape(len(x), -1), y


def members(sizes: Sequence[int], *, first: int = 0, scale: Sequence[float] = ()) -> list[Batch]:
    """Micro-batches of these sizes, one after the other; `scale` multiplies the loss, and so the gradient, of each."""
    x, y = rows()
    batches = []
    for size, factor in zip(sizes, scale or [1.0] * len(sizes), strict=True):
        weight = None if factor == 1 else torch.full((size,), factor, dtype=torch.float64)
        batches.append(Batch(x[first : first + size], y[first : first + size], 0, float(size), weight))
        first += size
    return batches


def epochs(count: int) -> Iterator[Tensor]:
    """The numbers of the rows of `train`, shuffled for each epoch."""
    for epoch in range(count):
        yield torch.randperm(ROWS, generator=torch.Generator().manual_seed(epoch))


def windows(batch_size: int, size: int, count: int = 2, *, weight: Tensor | None = None) -> Iterator[list[Batch]]:
    """The windows of some epochs; the last one of an epoch can be short, and its last micro-batch too.

    Args:
        weight: the weight of each of the rows in the loss.
    """
    x, y = rows(ROWS)
    for order in epochs(count):
        for window in order.split(batch_size * size):
            yield [
                Batch(x[part], y[part], 0, float(len(part)))
                if weight is None
                else Batch(x[part], y[part], 0, float(weight[part].sum()), weight[part])
                for part in window.split(batch_size)
            ]


def take(mine: Learner, batches: Sequence[Batch], size: int | None = None, planned: float | None = None) -> None:
    """Fill a window, without the update that follows.

    Args:
        size, planned: the micro-batches and items that the window is opened for, where they are not its own.
    """
    mine.open(sum(batch.items for batch in batches) if planned is None else planned, size or len(batches))
    for batch in batches:
        mine.take(batch)


def update(mine: Learner, batches: Sequence[Batch]) -> bool:
    """Fill a window and make its update; was there one?"""
    take(mine, batches)
    return mine.update()


def train(
    mine: Learner, batch_size: int, size: int, count: int = 2, *, dtype: torch.dtype = torch.float64, **options: Any
) -> Tensor:
    """Train for some epochs, to the end of the task; return the weights, shape (P,)."""
    for window in windows(batch_size, size, count, **options):
        update(mine, [Batch(b.x.to(dtype), b.y, 0, b.items, b.weight) for b in window])
    mine.end(task())
    return mine.weights.value


# ---- gradients without a learner ----


def gradient(rule: Rule, batches: Sequence[Batch]) -> Tensor:
    """What the rule makes of the gradients of these micro-batches at fresh weights, shape (P,)."""
    mine = learner(rule=rule)
    take(mine, batches)
    with torch.no_grad():
        assert mine.window.reduce(mine)
    return mine.weights.grad


def loss_and_gradient(model: nn.Module, weights: Tensor, window: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """The slow reference: the mean loss over all rows of a window at any weights, and its gradient."""
    names, shapes = zip(*((name, p.shape) for name, p in model.named_parameters()), strict=True)
    split = weights.split([shape.numel() for shape in shapes])
    leaves = [part.reshape(shape).detach().requires_grad_() for part, shape in zip(split, shapes, strict=True)]
    x, y = torch.cat([b.x for b in window]), torch.cat([b.y for b in window])
    losses = F.cross_entropy(
        torch.func.functional_call(model, dict(zip(names, leaves, strict=True)), (x,)), y, reduction="none"
    )
    c = torch.cat([torch.ones_like(losses[: len(b.x)]) if b.weight is None else b.weight for b in window])
    loss = (c * losses).sum() / sum(b.items for b in window)
    return loss.detach(), torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, leaves)])


def micro_gradient(batch: Batch, at: Tensor | None = None) -> Tensor:
    """The gradient of one micro-batch's mean loss at given or fresh weights, by plain PyTorch, shape (P,)."""
    model = network()
    fresh = nn.utils.parameters_to_vector(model.parameters())
    return loss_and_gradient(model, fresh if at is None else at, [batch])[1]


def micro_gradients(batches: Sequence[Batch], at: Tensor | None = None) -> Tensor:
    """Shape (K, P)."""
    return torch.stack([micro_gradient(batch, at) for batch in batches])


# ---- learners that a command builds, on streams of tasks ----


@cache
def config(*words: str) -> Config:
    return load_config([*SMALL, *words])


def stream(*words: str) -> Stream:
    return open_stream(config(*words), digits())


def built(tasks: Stream, *words: str) -> Learner:
    """A learner before its first task."""
    return composed(tasks, config(*words))


def composed(tasks: Stream, chosen: Config) -> Learner:
    model = build_model(chosen, Shape(digits().shape, tasks.setting.outputs), torch.device("cpu"))
    return build_learner(
        chosen, model, build_criterion(digits(), tasks.outputs, chosen.criterion), tasks.longest, tasks
    )


def micro_batches(task: Task, count: int, size: int) -> list[Batch]:
    """The first rows of a task, in its own order."""
    return [
        Batch(x, y, task.index, float(len(y)), tasks=b.tasks)
        for b in task.batches(size, rows=count * size)
        for x, y in [(b.x, b.y)]
    ]


def steps(
    mine: Learner, tasks: Stream, *, count: int = 8, size: int = 8, window: int = 2, start: tuple[int, int] = (0, 0)
) -> Iterator[tuple[int, int]]:
    """Train on task after task, `count` micro-batches of each; yields where it is wherever a run may be saved.

    Args:
        start: task and micro-batch to go on with.
    """
    first, place = start
    for index in range(first, len(tasks)):
        task = tasks[index]
        if place == 0:
            mine.begin(task)
        for number, batch in enumerate(micro_batches(task, count, size)):
            if number < place:
                continue
            if mine.window.taken == 0:
                mine.open(size * window, window)
            mine.take(batch)
            if mine.window.taken == window:
                mine.update()
            if number + 1 < count:
                yield index, number + 1
        mine.end(task)
        place = 0
        yield index + 1, 0


def finished(mine: Learner, tasks: Stream, **options: Any) -> Learner:
    """The learner after all tasks."""
    for _ in steps(mine, tasks, **options):
        pass
    return mine
