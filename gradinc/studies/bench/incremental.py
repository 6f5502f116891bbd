"""`gradinc bench incremental`: a stream of permuted tasks by gradinc and by hand-written loops.

An MLP of 784-100-100-10, SGD, batches of 128, one thread. gradinc's side is a whole run: its log, its checks, its
checkpoints, and the test rows of all tasks so far after each task, which the hand-written side measures too. The
hand-written replay fills its reservoir row by row, as is usual.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradinc.config.compose import load_config
from gradinc.data.dataset import Dataset
from gradinc.data.rows import TensorRows
from gradinc.runs.device import pin
from gradinc.studies.bench.harness import (
    CPU,
    Bench,
    BenchResult,
    bench_model,
    in_turns,
    random_dataset,
    summarized,
    timed_run,
)
from gradinc.studies.bench.long_streams import long_streams

_BATCH, _MEMORY = 128, 256
_WORDS: tuple[str, ...] = (
    "model=mlp",
    "model.width=100",
    "optimizer.momentum=0",
    "optimizer.lr=0.05",
    f"data.batch_size={_BATCH}",
)
_WORDS += ("stream=permuted", "budget.epochs=1", "device=cpu", "progress=quiet", "log.steps=1000000")


@dataclass(frozen=True)
class _Size:
    """Sizes of the streams."""

    tasks: int
    rows: int
    test: int


def streams(tasks: int, rows: int) -> dict[str, Bench]:
    """Return the benches by name, for streams with this number of tasks and of training rows in each task."""
    pin(1, CPU)
    lines = _lines(_Size(tasks, rows, max(1, rows // 6)))
    benches: dict[str, Bench] = {name: partial(_result, name, line) for name, line in lines.items()}
    return benches | long_streams(_WORDS, tasks, rows)


@dataclass(frozen=True)
class _Line:
    """Two sides, each a function that gives seconds, and whether their ratio is a speed or a cost."""

    first: Callable[[], float]
    second: Callable[[], float]
    kind: str
    goal: float


def _lines(size: _Size) -> dict[str, _Line]:
    dataset = random_dataset(size.rows, size.test)
    agem = ("strategy=agem", f"strategy.methods.agem.memory={_MEMORY}", f"strategy.methods.agem.sample={_MEMORY}")
    er = ("strategy=er", f"strategy.methods.er.memory={_MEMORY}", f"strategy.methods.er.replay={_BATCH}")
    derpp = ("strategy=derpp", f"strategy.methods.derpp.memory={_MEMORY}", f"strategy.methods.derpp.replay={_BATCH}")
    large = _Size(4 * size.tasks, size.rows, size.test)

    def ours(*words: str, of: _Size = size) -> Callable[[], float]:
        return lambda: _gradinc(dataset, of, words)

    def theirs(method: str) -> Callable[[], float]:
        return lambda: _by_hand(dataset, size, method)

    few = random_dataset(size.rows, 1)  # one test row, because the evaluation of all tasks would grow with their number

    def share(count: _Size) -> Callable[[], float]:
        return lambda: _gradinc(few, count, er) / count.tasks

    return {
        "finetune": _Line(ours(), theirs("plain"), "speed", 0.97),
        "agem": _Line(ours(*agem), theirs("agem"), "speed", 1.0),
        "er": _Line(ours(*er), theirs("er"), "speed", 0.95),
        "derpp over finetune": _Line(ours(*derpp), ours(), "cost", 3.5),
        "er, a batch of four times as many tasks": _Line(share(large), share(size), "cost", 1.1),
    }


def _result(name: str, line: _Line, rounds: int) -> BenchResult:
    pairs = in_turns(line.first, line.second, rounds)
    if line.kind == "cost":
        return summarized(name, line.kind, pairs, "≤", line.goal)
    return summarized(name, line.kind, [(second, first) for first, second in pairs], "≥", line.goal)


def _gradinc(dataset: Dataset, size: _Size, words: tuple[str, ...]) -> float:
    """Return the seconds that a run takes, from its first batch to its last measurement."""
    return timed_run([*_WORDS, f"stream.tasks={size.tasks}", *words], dataset)[0]


def _by_hand(dataset: Dataset, size: _Size, method: str) -> float:
    """Return the seconds that a hand-written loop takes."""
    train, test = dataset.train, dataset.test
    assert isinstance(train, TensorRows)
    assert isinstance(test, TensorRows)
    config = load_config([*_WORDS, f"stream.tasks={size.tasks}"])
    model = bench_model(config)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    step = {"plain": _plain, "agem": _agem, "er": _er}[method]
    memory = _Kept(_MEMORY)
    flat, flat_test = train.x.flatten(1), test.x.flatten(1)
    begun = time.perf_counter()
    tests: list[Tensor] = []
    for _ in range(size.tasks):
        order = torch.randperm(flat.shape[1])
        x = flat[:, order]
        tests.append(flat_test[:, order])
        if len(tests) == 1:
            _accuracy(model, tests[0], test.y)
        model.train()
        for rows in torch.randperm(len(x)).split(_BATCH):
            step(model, optimizer, x[rows], train.y[rows], memory)
        if method == "agem":
            memory.add_rows(x, train.y, size.tasks)
        for seen in tests:
            _accuracy(model, seen, test.y)
    return time.perf_counter() - begun


def _accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    model.eval()
    right = 0
    with torch.no_grad():
        for rows, labels in zip(x.split(512), y.split(512), strict=True):
            right += int((model(rows).argmax(1) == labels).sum())
    return right / len(y)


class _Kept:
    """A typical hand-written memory."""

    def __init__(self, size: int) -> None:
        self.size, self.seen = size, 0
        self.x: list[Tensor] = []
        self.y: list[Tensor] = []

    def add(self, x: Tensor, y: Tensor) -> None:
        for row, label in zip(x, y, strict=True):
            self.seen += 1
            if len(self.x) < self.size:
                self.x.append(row)
                self.y.append(label)
            elif (place := random.randrange(self.seen)) < self.size:
                self.x[place], self.y[place] = row, label

    def add_rows(self, x: Tensor, y: Tensor, tasks: int) -> None:
        chosen = torch.randperm(len(x))[: self.size // tasks]
        self.x += list(x[chosen])
        self.y += list(y[chosen])

    def draw(self, count: int) -> tuple[Tensor, Tensor]:
        chosen = random.sample(range(len(self.x)), min(count, len(self.x)))
        return torch.stack([self.x[place] for place in chosen]), torch.stack([self.y[place] for place in chosen])


def _plain(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, memory: _Kept) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def _er(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, memory: _Kept) -> None:
    rows, labels = x, y
    if memory.x:
        old, old_labels = memory.draw(_BATCH)
        rows, labels = torch.cat((x, old)), torch.cat((y, old_labels))
    _plain(model, optimizer, rows, labels, memory)
    memory.add(x, y)


def _agem(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, memory: _Kept) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    if memory.x:
        g = _flat(model)
        optimizer.zero_grad()
        old, labels = memory.draw(_MEMORY)
        F.cross_entropy(model(old), labels).backward()
        reference = _flat(model)
        product = torch.dot(g, reference)
        if product < 0:
            g = g - product / torch.dot(reference, reference) * reference
        place = 0
        for p in _parameters(model):
            assert p.grad is not None
            p.grad.copy_(g[place : place + p.numel()].view_as(p))
            place += p.numel()
    optimizer.step()


def _flat(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.flatten() for p in _parameters(model) if p.grad is not None])


def _parameters(model: nn.Module) -> Iterator[nn.Parameter]:
    return model.parameters()
