"""`gradinc bench`: the same training by gradinc and by the loop that one would write by hand.

Both sides train the same model on the same rows in memory, turn by turn, and each pair gives one
ratio. gradinc's side is a whole run with its log, its checks for numbers that are not finite and its
last checkpoint; only reading the data set is left out on both sides.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
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
from gradinc.config.schema import Config
from gradinc.data.dataset import Dataset
from gradinc.data.rows import TensorRows
from gradinc.data.stream import open_stream
from gradinc.records.directory import RunDirectory
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model
from gradinc.runs.device import choose_threads, peak_memory, pin
from gradinc.runs.display import Display
from gradinc.runs.evaluate import CHUNK, evaluate
from gradinc.runs.run import Run

ROWS = 8192
"""Rows of the data that the benches train on: Fashion-MNIST's shape, with values that don't matter to the clock."""

MLP = ("model=mlp", "model.width=256", "model.depth=2")
PLAIN = ("optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=0.01")


@dataclass(frozen=True)
class Figure:
    """One line of the result.

    Attributes:
        kind: ``train`` or ``evaluate`` (samples per second), or ``memory`` (peak bytes).
        ratio: gradinc's over the hand-written loop's, the median of the pairs; for ``memory`` the
            peak of a window of 1 over that of a window of 32.
        spread: half the range of the paired ratios.
        goal: what the ratio should be at least.
    """

    name: str
    kind: str
    ratio: float
    spread: float
    goal: float


@dataclass(frozen=True)
class TrainingBench:
    """A training to compare: overrides for gradinc, and the optimizer that the hand-written loop uses."""

    name: str
    overrides: tuple[str, ...]
    optimizer: Callable[..., torch.optim.Optimizer]
    steps: int
    goal: float


def _sgd(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.01)


def _adam(parameters: Iterator[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.001)


TRAINING = (
    TrainingBench("mlp sgd, batch 10", (*MLP, *PLAIN, "data.batch_size=10"), _sgd, 1500, 0.97),
    TrainingBench("mlp sgd, batch 128", (*MLP, *PLAIN, "data.batch_size=128"), _sgd, 300, 0.97),
    TrainingBench("mlp adam, batch 10", (*MLP, "optimizer=adam", "data.batch_size=10"), _adam, 800, 1.2),
    TrainingBench("mlp adam, batch 128", (*MLP, "optimizer=adam", "data.batch_size=128"), _adam, 250, 1.2),
    TrainingBench("cnn sgd, batch 128", ("model=cnn", *PLAIN, "data.batch_size=128"), _sgd, 20, 0.98),
    TrainingBench(
        "mlp sgd, windows of 8, batch 10",
        (*MLP, *PLAIN, "data.batch_size=10", "strategy.window.size=8"),
        _sgd,
        200,
        1.0,
    ),
    TrainingBench(
        "mlp sgd, windows of 8, batch 128",
        (*MLP, *PLAIN, "data.batch_size=128", "strategy.window.size=8"),
        _sgd,
        40,
        1.0,
    ),
)


def main(arguments: list[str]) -> int:
    """Run the benches and print them as a table or, with ``--json``, as one JSON document."""
    parser = argparse.ArgumentParser(
        prog="gradinc bench",
        description="Speed against the loop written by hand.",
        epilog="gradinc bench strategies measures what each rule and method costs.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=7, help="pairs that each ratio is the median of (default 7)")
    parser.add_argument("--only", default="", help="only the benches whose name contains this text")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        raise UserError(f"--rounds {options.rounds}", "need a whole number ≥ 1", "")
    benches = _benches(options.rounds)
    chosen = {name: bench for name, bench in benches.items() if options.only in name}
    if not chosen:
        raise UserError(f"--only {options.only}", "no such bench", f"Choose from: {', '.join(benches)}")
    console = Console(stderr=True)
    names = track(chosen, description="measuring", console=console, transient=True, disable=not console.is_terminal)
    figures = [chosen[name]() for name in names]
    if options.json:
        print(json.dumps([asdict(figure) for figure in figures], indent=2))
        return 0
    table = Table("bench", "kind", "ratio", "± half range", "goal", "", box=None, padding=(0, 2, 0, 0))
    for f in figures:
        reached = "[green]reached[/]" if f.ratio >= f.goal else "[yellow]missed[/]"
        table.add_row(f.name, f.kind, f"{f.ratio:.3f}", f"{f.spread:.3f}", f"{f.goal:.2f}", reached)
    Console().print(table)
    return 0


def _benches(rounds: int) -> dict[str, Callable[[], Figure]]:
    benches: dict[str, Callable[[], Figure]] = {b.name: lambda b=b: _train(b, rounds) for b in TRAINING}  # type: ignore[misc]
    benches["evaluate mlp"] = lambda: _evaluate("evaluate mlp", MLP, rounds)
    benches["evaluate cnn"] = lambda: _evaluate("evaluate cnn", ("model=cnn",), rounds)
    benches["memory of a window"] = _memory
    return benches


def _dataset() -> Dataset:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(ROWS, 1, 28, 28, generator=random)
    y = torch.randint(0, 10, (ROWS,), generator=random)
    none = TensorRows(x[:0], y[:0])
    classes = tuple(str(label) for label in range(10))
    return Dataset("bench", classes, (1, 28, 28), 10, TensorRows(x, y), none, none, (0.0,), (1.0,), None, None, "", "")


def _model(config: Config) -> nn.Module:
    return build_model(config, Shape((1, 28, 28), 10), torch.device("cpu"))


def _pin(config: Config) -> None:
    pin(choose_threads("auto", _model(config), (1, 28, 28), config.data.batch_size), torch.device("cpu"))


def _train(bench: TrainingBench, rounds: int) -> Figure:
    overrides = [*bench.overrides, f"budget.steps={bench.steps}", "device=cpu", "progress=quiet"]
    dataset = _dataset()
    config = load_config(overrides)
    _pin(config)

    def ours() -> float:
        with tempfile.TemporaryDirectory() as folder:
            mine = load_config([*overrides, f"output={folder}"])
            directory = RunDirectory(mine)
            directory.path.mkdir()
            learner = build_learner(mine, _model(mine), build_criterion(dataset), ROWS)
            display = Display(Console(quiet=True), "quiet")
            run = Run(mine, directory, dataset, open_stream(mine, dataset), learner, display, Interruption())
            run.resume()
            begun = time.perf_counter()
            run.train()
            seconds = time.perf_counter() - begun
            run.close()
            return learner.work.samples / seconds

    def theirs() -> float:
        # Few people think of channels_last, which `build_model` sets.
        model = _model(config).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return _by_hand(model, dataset.train, bench, config.data.batch_size, config.strategy.window.size)

    return _figure(bench.name, "train", ours, theirs, rounds, bench.goal)


def _by_hand(model: nn.Module, rows: TensorRows | object, bench: TrainingBench, size: int, window: int) -> float:
    """The loop that one would write: shuffle, index, forward, backward, step."""
    assert isinstance(rows, TensorRows)
    x, y = rows.x, rows.y
    optimizer = bench.optimizer(model.parameters())
    samples = taken = updates = 0
    begun = time.perf_counter()
    while updates < bench.steps:
        for indices in torch.randperm(len(x)).split(size):
            loss = F.cross_entropy(model(x[indices]), y[indices])
            (loss / window if window > 1 else loss).backward()
            taken += 1
            samples += len(indices)
            if taken % window == 0:
                optimizer.step()
                optimizer.zero_grad()
                updates += 1
                if updates == bench.steps:
                    break
    return samples / (time.perf_counter() - begun)


def _evaluate(name: str, overrides: tuple[str, ...], rounds: int) -> Figure:
    config = load_config([*overrides, "device=cpu"])
    model = _model(config)
    _pin(config)
    dataset = _dataset()
    rows, criterion = dataset.train, build_criterion(dataset)
    assert isinstance(rows, TensorRows)

    def ours() -> float:
        begun = time.perf_counter()
        evaluate(model, rows, criterion)
        return ROWS / (time.perf_counter() - begun)

    def theirs() -> float:
        begun = time.perf_counter()
        model.eval()
        with torch.no_grad():
            for x in rows.x.split(CHUNK):
                model(x)
        return ROWS / (time.perf_counter() - begun)

    return _figure(name, "evaluate", ours, theirs, rounds, 0.9)


def _figure(
    name: str, kind: str, ours: Callable[[], float], theirs: Callable[[], float], rounds: int, goal: float
) -> Figure:
    ours(), theirs()  # the first turn of each warms caches and allocators
    ratios = []
    for number in range(rounds):
        if number % 2:
            mine, other = ours(), theirs()
        else:
            other, mine = theirs(), ours()
        ratios.append(mine / other)
    return Figure(name, kind, round(statistics.median(ratios), 4), round((max(ratios) - min(ratios)) / 2, 4), goal)


def _memory() -> Figure:
    """Peak memory of a process that trains a model of 10 million weights in windows of 1 and of 32."""
    peaks = []
    for window in (1, 32):
        script = f"from gradinc.studies.bench.handwritten import peak_of_window; print(peak_of_window({window}))"
        out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        peaks.append(int(out))
    return Figure("memory of a window", "memory", round(peaks[0] / peaks[1], 4), 0.0, 0.95)


def peak_of_window(window: int) -> int:
    """Bytes that this process needs at most to train two windows."""
    config = load_config(
        ["model=mlp", "model.width=2048", "data.batch_size=16", f"strategy.window.size={window}", *PLAIN]
    )
    dataset = _dataset()
    rows = dataset.train
    assert isinstance(rows, TensorRows)
    learner = build_learner(config, _model(config), build_criterion(dataset), ROWS)
    from gradinc.data.batch import Batch

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        return rows.batches(torch.arange(ROWS), 16)

    served = batches()
    for _ in range(64 // window):
        learner.open(16 * window, window)
        for _ in range(window):
            x, y = next(served)
            learner.take(Batch(x, y, 0, 16))
        learner.update()
    return peak_memory(torch.device("cpu"))
