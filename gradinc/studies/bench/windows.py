"""A short training of any strategy on any device: a few windows of each of two tasks, in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice

import torch
from torch import Tensor

from gradinc.config.catalog import parts
from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.core.world import World
from gradinc.data.batch import Batch
from gradinc.data.dataset import load_dataset
from gradinc.data.stream import Stream, open_stream
from gradinc.data.task import Task
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model
from gradinc.runs.device import storage_dtype
from gradinc.runs.epoch import Epoch
from gradinc.studies.bench.cpu_draws import cpu_draws

WINDOWS = 2
"""Windows of each task."""

_MODEL = ("data=digits", "model=mlp", "model.width=12", "model.depth=1", "dtype=float64")
SMALL = (*_MODEL, "data.batch_size=8", "strategy.window.size=4", "optimizer.momentum=0.9")
TASKS = ("stream=permuted", "stream.tasks=2")
OWN_CLASSES = {"icarl": ("stream=split", "stream.tasks=2")}
"""Streams for strategies that need tasks with their own classes."""


def strategy_words(strategy: str) -> tuple[str, ...]:
    """Return the overrides that choose a strategy, with memories that are full after a few windows."""
    fills = any(method.name == strategy and "memory" in method.parameters for method in parts("method"))
    return (
        f"strategy={strategy}",
        *OWN_CLASSES.get(strategy, TASKS),
        *([f"strategy.methods.{strategy}.memory=20"] if fills else []),
    )


def learner_of(config: Config, device: torch.device) -> tuple[Learner, Stream]:
    """Return a learner and its tasks, built as in a run."""
    dataset = load_dataset(config.data, device, storage_dtype(config.dtype))
    stream = open_stream(config, dataset)
    model = build_model(config, Shape(dataset.shape, stream.setting.outputs), device)
    return build_learner(config, model, build_criterion(dataset, stream.outputs), stream.longest, stream), stream


def train_windows(
    learner: Learner,
    stream: Iterable[Task],
    config: Config,
    device: torch.device,
    watch: Callable[[], AbstractContextManager[None]] = nullcontext,
    *,
    ragged: bool = True,
) -> None:
    """Train `WINDOWS` windows of each task.

    Args:
        watch: returns a context for each window except a task's first.
        ragged: whether a second window's last micro-batch has half of the rows.
    """
    for task in stream:
        learner.begin(task)
        served = Epoch(task, 0, config.seed, config.data, 0.0, World(), device).batches(0)
        for number in range(WINDOWS):
            with watch() if number else nullcontext():
                _window(learner, served, config.strategy.window.size, ragged=ragged and number == 1)
        learner.end(task)


def _window(learner: Learner, served: Iterator[Batch], size: int, *, ragged: bool) -> None:
    batches = list(islice(served, size))
    if ragged:
        batches[-1] = batches[-1].rows(0, len(batches[-1].x) // 2)
    learner.open(sum(batch.items for batch in batches), size)
    for batch in batches:
        learner.take(batch)
    learner.update()


def trained(config: Config, device: torch.device, *, ragged: bool = True) -> Tensor:
    """Return the weights after the windows of `train`, on the CPU, with the CPU's random numbers."""
    with cpu_draws():
        learner, stream = learner_of(config, device)
        train_windows(learner, stream, config, device, ragged=ragged)
    return learner.weights.value.cpu()
