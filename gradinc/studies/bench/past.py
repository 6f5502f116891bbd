"""The part of `gradinc bench` about computations from past tasks: EWC's Fisher information, and projections.

It measures the processor time of this process, on one thread, for an MLP of 784-256-256-10.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradinc.config.compose import load_config
from gradinc.core.learner import Learner
from gradinc.data.dataset import Dataset
from gradinc.data.rows import TensorRows
from gradinc.data.stream import open_stream
from gradinc.data.task import Task
from gradinc.runs.build import build_criterion, build_learner
from gradinc.runs.device import pin
from gradinc.studies.bench.harness import (
    CPU,
    IMAGE,
    MLP,
    PLAIN_SGD,
    Bench,
    BenchResult,
    bench_model,
    in_turns,
    random_dataset,
    summarized,
)

_ROWS, _TOGETHER = 1024, 128
"""Rows for the Fisher information, and rows of a batch in the hand-written loops."""

_TASKS, _TASK_ROWS, _DIRECTIONS = 50, 1000, 40
"""Tasks of a stream, training rows of a task, and the dimension of the space of its rows, less than their pixels."""


def past() -> dict[str, Bench]:
    """Return the benches by name."""
    benches: dict[str, Bench] = {}
    for name, by_hand, goal in (("a loop over rows", _row_by_row, 8.0), ("its closed form by hand", _closed, 0.6)):
        label = f"ewc, Fisher information, over {name}"
        benches[label] = partial(_fisher, label, by_hand, goal)
    for method, goal in (("ogd", 2.0), ("gpm", 1.5)):
        label = f"{method}, task {_TASKS} over task 5"
        benches[label] = partial(_growth, label, method, goal)
    return benches


# ---- the Fisher information of the rows of a task ----


def _fisher(label: str, by_hand: Callable[[nn.Module, Tensor, Tensor], None], goal: float, rounds: int) -> BenchResult:
    pin(1, CPU)
    learner = _learner(random_dataset(_ROWS), "strategy=ewc", "strategy.methods.ewc.rows=null")
    rows = random_dataset(_ROWS).train
    assert isinstance(rows, TensorRows)
    task = Task(0, tuple(range(10)), rows, rows, rows)

    def ours() -> float:
        begun = time.process_time()
        learner.methods[0].end(task, learner)
        return _ROWS / (time.process_time() - begun)

    def theirs() -> float:
        begun = time.process_time()
        by_hand(learner.model, rows.x, rows.y)
        return _ROWS / (time.process_time() - begun)

    return summarized(label, "speed", in_turns(ours, theirs, rounds), "≥", goal)


def _row_by_row(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Square the gradients of single rows, one row after the other, as other programs do."""
    parameters = list(model.parameters())
    totals = [torch.zeros_like(p) for p in parameters]
    for row in range(len(x)):
        loss = F.cross_entropy(model(x[row : row + 1]), y[row : row + 1])
        for total, part in zip(totals, torch.autograd.grad(loss, parameters), strict=True):
            total += part.square()


def _closed(model: nn.Module, x: Tensor, y: Tensor) -> None:
    """Compute (δ²)ᵀ x² for every layer, by a formula for exactly this model."""
    linear = [module for module in model.modules() if isinstance(module, nn.Linear)]
    totals = [torch.zeros_like(layer.weight) for layer in linear]
    biases = [torch.zeros_like(layer.bias) for layer in linear]
    for rows, labels in zip(x.flatten(1).split(_TOGETHER), y.split(_TOGETHER), strict=True):
        inputs, outputs = [rows], []
        for layer in linear:
            outputs.append(layer(inputs[-1]))
            inputs.append(outputs[-1].relu())
        loss = F.cross_entropy(outputs[-1], labels, reduction="sum")
        slopes = [slope.square() for slope in torch.autograd.grad(loss, outputs)]
        for total, bias, slope, given in zip(totals, biases, slopes, inputs, strict=False):
            total.addmm_(slope.T, given.detach().square())
            bias += slope.sum(0)


# ---- a late task of a stream over an early one ----


def _growth(label: str, method: str, goal: float, rounds: int) -> BenchResult:
    """Compare the time of a late task with an early task, without evaluation: medians of five tasks."""
    pin(1, CPU)
    pairs = []
    for _ in range(rounds):
        seconds = _seconds_of_tasks(f"strategy={method}")
        pairs.append((median(seconds[-5:]), median(seconds[2:7])))
    return summarized(label, "cost", pairs, "≤", goal)


def _seconds_of_tasks(*overrides: str) -> list[float]:
    dataset = _images_of_few_directions()
    words = ("stream=permuted", f"stream.tasks={_TASKS}", "data.batch_size=10", *overrides)
    config = load_config([*MLP, *PLAIN_SGD, *words, "device=cpu"])
    stream = open_stream(config, dataset)
    learner = build_learner(config, bench_model(config), build_criterion(dataset, stream.outputs), _TASK_ROWS, stream)
    seconds = []
    for task in stream:
        begun = time.process_time()
        learner.begin(task)
        for batch in task.batches(config.data.batch_size):
            learner.open(batch.items, 1)
            learner.take(batch)
            learner.update()
        learner.end(task)
        seconds.append(time.process_time() - begun)
        learner.drain()
    return seconds


def _images_of_few_directions() -> Dataset:
    """Return images where each task spans only a small subspace, so that a basis grows with the tasks."""
    dataset = random_dataset(_TASK_ROWS, 1)
    rows, draws = dataset.train, torch.Generator().manual_seed(1)
    assert isinstance(rows, TensorRows)
    pixels = rows.x[0].numel()
    mixing = torch.randn(_DIRECTIONS, pixels, generator=draws) / _DIRECTIONS**0.5
    rows.x = (torch.randn(_TASK_ROWS, _DIRECTIONS, generator=draws) @ mixing).view(-1, *IMAGE)
    return dataset


def _learner(dataset: Dataset, *overrides: str) -> Learner:
    config = load_config([*MLP, *PLAIN_SGD, *overrides, "device=cpu"])
    return build_learner(config, bench_model(config), build_criterion(dataset), len(dataset.train))
