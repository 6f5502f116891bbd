"""`gradinc bench`: the same training by gradinc and by a hand-written loop.

Both sides train the same model on the same rows in memory, in turns, and each pair of turns gives one
ratio. gradinc's side is a whole run with its log, its checks for non-finite numbers and its last
checkpoint. On both sides the time to read the data set is left out.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradinc.config.compose import load_config
from gradinc.config.schema import Config
from gradinc.core.criterion import Criterion
from gradinc.data.batch import Batch
from gradinc.data.rows import TensorRows
from gradinc.runs.build import build_criterion, build_learner
from gradinc.runs.device import choose_threads, peak_memory, pin
from gradinc.runs.evaluate import evaluate
from gradinc.studies.bench.harness import (
    CPU,
    IMAGE,
    MLP,
    PLAIN_SGD,
    Bench,
    BenchResult,
    bench_model,
    in_turns,
    loop_speed,
    random_dataset,
    summarized,
    timed_run,
)

ROWS_TRAINED = 8192
"""Rows of the data that the benches train on."""


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
    TrainingBench("mlp sgd, batch 10", (*MLP, *PLAIN_SGD, "data.batch_size=10"), _sgd, 1500, 1.1),
    TrainingBench("mlp sgd, batch 128", (*MLP, *PLAIN_SGD, "data.batch_size=128"), _sgd, 300, 0.97),
    TrainingBench("mlp adam, batch 10", (*MLP, "optimizer=adam", "data.batch_size=10"), _adam, 800, 1.2),
    TrainingBench("mlp adam, batch 128", (*MLP, "optimizer=adam", "data.batch_size=128"), _adam, 250, 1.25),
    TrainingBench("cnn sgd, batch 32", ("model=cnn", *PLAIN_SGD, "data.batch_size=32"), _sgd, 60, 1.4),
    TrainingBench("cnn sgd, batch 128", ("model=cnn", *PLAIN_SGD, "data.batch_size=128"), _sgd, 20, 1.4),
    TrainingBench(
        "resnet18 sgd, windows of 4, batch 64",
        ("model=resnet18", *PLAIN_SGD, "data.batch_size=64", "strategy.window.size=4"),
        _sgd,
        1,
        1.18,
    ),
    TrainingBench(
        "mlp sgd, windows of 8, batch 10",
        (*MLP, *PLAIN_SGD, "data.batch_size=10", "strategy.window.size=8"),
        _sgd,
        200,
        1.0,
    ),
    TrainingBench(
        "mlp sgd, windows of 8, batch 128",
        (*MLP, *PLAIN_SGD, "data.batch_size=128", "strategy.window.size=8"),
        _sgd,
        40,
        1.0,
    ),
)


def trainings() -> dict[str, Bench]:
    """Return the benches by name, including evaluation and memory."""
    benches: dict[str, Bench] = {bench.name: partial(_train, bench) for bench in TRAINING}
    benches["mlp sgd, batch 10, loss of 0"] = _confident
    benches["evaluate mlp"] = partial(_evaluate, "evaluate mlp", MLP)
    benches["evaluate cnn"] = partial(_evaluate, "evaluate cnn", ("model=cnn",))
    benches["memory of a window"] = lambda rounds: _memory()
    return benches


def _pin(config: Config) -> None:
    pin(choose_threads("auto", bench_model(config), IMAGE, config.data.batch_size), CPU)


def _train(bench: TrainingBench, rounds: int) -> BenchResult:
    overrides = [*bench.overrides, f"budget.steps={bench.steps}", "device=cpu", "progress=quiet"]
    dataset = random_dataset(ROWS_TRAINED)
    config = load_config(overrides)
    _pin(config)

    def ours() -> float:
        seconds, samples = timed_run(overrides, dataset)
        return samples / seconds

    def theirs() -> float:
        # `build_model` sets channels_last; typical hand-written loops do not.
        model = bench_model(config).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return _by_hand(model, dataset.train, bench, config.data.batch_size, config.strategy.window.size)

    return summarized(bench.name, "train", in_turns(ours, theirs, rounds), "≥", bench.goal)


def _by_hand(model: nn.Module, rows: TensorRows | object, bench: TrainingBench, size: int, window: int) -> float:
    """Train with a typical hand-written loop."""
    assert isinstance(rows, TensorRows)
    x, y = rows.x, rows.y
    optimizer = bench.optimizer(model.parameters())
    return loop_speed(
        optimizer, lambda rows: F.cross_entropy(model(x[rows]), y[rows]), len(x), size, window, bench.steps
    )


def _confident(rounds: int) -> BenchResult:
    """Compare training at losses of 0 and gradients below 1e-30 with training of the same network at normal losses."""
    config = load_config([*MLP, *PLAIN_SGD, "data.batch_size=10"])
    _pin(config)
    rows = random_dataset(ROWS_TRAINED).train
    assert isinstance(rows, TensorRows)
    with torch.no_grad():
        best = bench_model(config)(rows.x).topk(2)
    clear = (best.values[:, 0] - best.values[:, 1]).argsort(descending=True)[: ROWS_TRAINED // 4]
    batches = [Batch(rows.x[each], best.indices[each, 0], 0, 10.0) for each in clear.split(10)]

    def trained(certainty: float) -> float:
        model = bench_model(config)
        learner = build_learner(config, model, build_criterion(random_dataset(0)), ROWS_TRAINED)
        with torch.no_grad():
            for part in list(model.parameters())[-2:]:
                part.mul_(certainty)
        begun = time.perf_counter()
        for batch in batches:
            learner.open(10.0, 1)
            learner.take(batch)
            learner.update()
        return 10 * len(batches) / (time.perf_counter() - begun)

    pairs = in_turns(lambda: trained(1000.0), lambda: trained(1.0), rounds)
    return summarized("mlp sgd, batch 10, loss of 0", "train", pairs, "≥", 0.9)


def _evaluate(name: str, overrides: tuple[str, ...], rounds: int) -> BenchResult:
    config = load_config([*overrides, "device=cpu"])
    model = bench_model(config)
    _pin(config)
    dataset = random_dataset(ROWS_TRAINED)
    rows, criterion = dataset.train, build_criterion(dataset)
    assert isinstance(rows, TensorRows)

    def ours() -> float:
        begun = time.perf_counter()
        evaluate(model, rows, criterion)
        return ROWS_TRAINED / (time.perf_counter() - begun)

    def theirs() -> float:
        begun = time.perf_counter()
        model.eval()
        with torch.no_grad():
            for x in rows.x.split(Criterion.chunk):
                model(x)
        return ROWS_TRAINED / (time.perf_counter() - begun)

    return summarized(name, "evaluate", in_turns(ours, theirs, rounds), "≥", 0.9)


def _memory() -> BenchResult:
    """Compare the peak memory of a process that trains a model of 10 million weights in windows of 1 and of 32."""
    peaks = []
    for window in (1, 32):
        script = f"from gradinc.studies.bench.handwritten import peak_of_window; print(peak_of_window({window}))"
        out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
        peaks.append(int(out))
    return summarized("memory of a window", "memory", [(peaks[0], peaks[1])], "≥", 0.95)


def peak_of_window(window: int) -> int:
    """Return the peak memory in bytes of this process when it trains two windows."""
    config = load_config(
        ["model=mlp", "model.width=2048", "data.batch_size=16", f"strategy.window.size={window}", *PLAIN_SGD]
    )
    dataset = random_dataset(ROWS_TRAINED)
    rows = dataset.train
    assert isinstance(rows, TensorRows)
    learner = build_learner(config, bench_model(config), build_criterion(dataset), ROWS_TRAINED)

    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        return rows.batches(torch.arange(ROWS_TRAINED), 16)

    served = batches()
    for _ in range(64 // window):
        learner.open(16 * window, window)
        for _ in range(window):
            x, y = next(served)
            learner.take(Batch(x, y, 0, 16))
        learner.update()
    return peak_memory(CPU)
