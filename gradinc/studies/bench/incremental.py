"""`gradinc bench incremental`: a stream of permuted tasks by gradinc and by the loops that one would write by hand.

An MLP of 784-100-100-10, SGD, batches of 128, one thread. gradinc's side is a whole run: its log, its checks, its
checkpoints, and the test rows of all tasks so far after each task, which the hand-written side measures too. The
hand-written replay fills its reservoir row by row, as such loops do.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.progress import track
from rich.table import Table
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.base.signals import Interruption
from gradinc.config.compose import load_config
from gradinc.data.dataset import Dataset
from gradinc.data.rows import TensorRows
from gradinc.data.stream import open_stream
from gradinc.records.directory import RunDirectory
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model
from gradinc.runs.device import pin
from gradinc.runs.display import Display
from gradinc.runs.run import Run

BATCH, MEMORY = 128, 256
WORDS: tuple[str, ...] = (
    "model=mlp",
    "model.width=100",
    "optimizer.momentum=0",
    "optimizer.lr=0.05",
    f"data.batch_size={BATCH}",
)
WORDS += ("stream=permuted", "budget.epochs=1", "device=cpu", "progress=quiet", "log.steps=1000000")


@dataclass(frozen=True)
class Figure:
    """One line of the result.

    Attributes:
        ratio: speed over that of the other side, or time over it where `kind` is ``cost``: the median of the pairs.
        spread: half the range of the paired ratios.
        goal: what a speed should be at least, and a cost at most.
    """

    name: str
    kind: str
    ratio: float
    spread: float
    goal: float


@dataclass(frozen=True)
class Size:
    """How large the streams are."""

    tasks: int
    rows: int
    test: int


def main(arguments: list[str]) -> int:
    """Measure and print the figures as a table or, with ``--json``, as one JSON document."""
    parser = argparse.ArgumentParser(
        prog="gradinc bench incremental", description="Streams of tasks against the loops written by hand."
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=5, help="pairs that each ratio is the median of (default 5)")
    parser.add_argument("--tasks", type=int, default=5, help="tasks of a stream (default 5)")
    parser.add_argument("--rows", type=int, default=12_800, help="training rows of a task (default 12,800)")
    parser.add_argument("--only", default="", help="only the lines whose name contains this text")
    options = parser.parse_args(arguments)
    for name in ("rounds", "tasks", "rows"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name} {getattr(options, name)}", "need a whole number ≥ 1")
    size = Size(options.tasks, options.rows, max(1, options.rows // 6))
    lines = _lines(size)
    chosen = {name: line for name, line in lines.items() if options.only in name}
    if not chosen:
        raise UserError(f"--only {options.only}", "no such line", f"Choose from: {', '.join(lines)}")
    pin(1, torch.device("cpu"))
    console = Console(stderr=True)
    names = track(chosen, description="measuring", console=console, transient=True, disable=not console.is_terminal)
    figures = [_figure(name, chosen[name], options.rounds) for name in names]
    if options.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
        return 0
    table = Table("stream", "kind", "ratio", "± half range", "goal", "", box=None, padding=(0, 2, 0, 0))
    for f in figures:
        good = f.ratio <= f.goal if f.kind == "cost" else f.ratio >= f.goal
        goal = f"{'≤' if f.kind == 'cost' else '≥'} {f.goal:.2f}"
        mark = "[green]reached[/]" if good else "[yellow]missed[/]"
        table.add_row(f.name, f.kind, f"{f.ratio:.3f}", f"{f.spread:.3f}", goal, mark)
    Console().print(table)
    return 0


@dataclass(frozen=True)
class _Line:
    """Two sides, each a function that gives seconds, and whether their ratio is a speed or a cost."""

    first: Callable[[], float]
    second: Callable[[], float]
    kind: str
    goal: float


def _lines(size: Size) -> dict[str, _Line]:
    dataset = _dataset(size)
    agem = ("strategy=agem", f"strategy.methods.agem.memory={MEMORY}", f"strategy.methods.agem.sample={MEMORY}")
    er = ("strategy=er", f"strategy.methods.er.memory={MEMORY}", f"strategy.methods.er.replay={BATCH}")
    derpp = ("strategy=derpp", f"strategy.methods.derpp.memory={MEMORY}", f"strategy.methods.derpp.replay={BATCH}")
    large = Size(4 * size.tasks, size.rows, size.test)

    def ours(*words: str, of: Size = size) -> Callable[[], float]:
        return lambda: _gradinc(dataset, of, words)

    def theirs(method: str) -> Callable[[], float]:
        return lambda: _by_hand(dataset, size, method)

    few = _dataset(Size(size.tasks, size.rows, 1))  # one test row: what grows with the tasks would be the memory's cost

    def share(count: Size) -> Callable[[], float]:
        return lambda: _gradinc(few, count, er) / count.tasks

    return {
        "finetune": _Line(ours(), theirs("plain"), "speed", 0.97),
        "agem": _Line(ours(*agem), theirs("agem"), "speed", 1.0),
        "er": _Line(ours(*er), theirs("er"), "speed", 0.95),
        "derpp over finetune": _Line(ours(*derpp), ours(), "cost", 3.5),
        "er, a batch of four times as many tasks": _Line(share(large), share(size), "cost", 1.1),
    }


def _figure(name: str, line: _Line, rounds: int) -> Figure:
    line.first(), line.second()  # the first turn of each warms caches and allocators
    ratios = []
    for number in range(rounds):
        if number % 2:
            mine, other = line.first(), line.second()
        else:
            other, mine = line.second(), line.first()
        ratios.append(mine / other if line.kind == "cost" else other / mine)
    spread = (max(ratios) - min(ratios)) / 2
    return Figure(name, line.kind, round(statistics.median(ratios), 4), round(spread, 4), line.goal)


def _dataset(size: Size) -> Dataset:
    draws = torch.Generator().manual_seed(0)
    shape = (1, 28, 28)
    parts = []
    for rows in (size.rows, 0, size.test):
        y = torch.randint(0, 10, (rows,), generator=draws)
        parts.append(TensorRows(torch.randn(rows, *shape, generator=draws), y))
    classes = tuple(str(label) for label in range(10))
    train, none, test = parts
    return Dataset("bench", classes, shape, 10, train, none, test, (0.0,), (1.0,), None, None, "", "")


def _gradinc(dataset: Dataset, size: Size, words: tuple[str, ...]) -> float:
    """Seconds that a run takes, from its first batch to its last measure."""
    with tempfile.TemporaryDirectory() as folder:
        config = load_config([*WORDS, f"stream.tasks={size.tasks}", *words, f"output={folder}"])
        directory = RunDirectory(config)
        directory.path.mkdir()
        stream = open_stream(config, dataset)
        model = build_model(config, Shape(dataset.shape, 10), torch.device("cpu"))
        learner = build_learner(config, model, build_criterion(dataset, stream.outputs), stream.longest, stream)
        run = Run(config, directory, dataset, stream, learner, Display(Console(quiet=True), "quiet"), Interruption())
        run.resume()
        begun = time.perf_counter()
        run.train()
        seconds = time.perf_counter() - begun
        run.close()
        return seconds


def _by_hand(dataset: Dataset, size: Size, method: str) -> float:
    """Seconds that the loop takes that one would write."""
    train, test = dataset.train, dataset.test
    assert isinstance(train, TensorRows)
    assert isinstance(test, TensorRows)
    config = load_config([*WORDS, f"stream.tasks={size.tasks}"])
    model = build_model(config, Shape(dataset.shape, 10), torch.device("cpu"))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    step = {"plain": _plain, "agem": _agem, "er": _er}[method]
    memory = _Kept(MEMORY)
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
        for rows in torch.randperm(len(x)).split(BATCH):
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
    """A memory as it is written by hand."""

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
        old, old_labels = memory.draw(BATCH)
        rows, labels = torch.cat((x, old)), torch.cat((y, old_labels))
    _plain(model, optimizer, rows, labels, memory)
    memory.add(x, y)


def _agem(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor, memory: _Kept) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    if memory.x:
        g = _flat(model)
        optimizer.zero_grad()
        old, labels = memory.draw(MEMORY)
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
