"""From a checked config to the parts that it names, joined into a learner."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from gradinc.budget import limits
from gradinc.config.catalog import load_part
from gradinc.config.schema import Config
from gradinc.criterion import Criterion, CrossEntropy, SquaredError
from gradinc.data.dataset import Dataset
from gradinc.device import autocast_dtype, storage_dtype
from gradinc.errors import UserError
from gradinc.learner import Learner
from gradinc.order import check_order
from gradinc.randomness import seeded
from gradinc.schedules import Schedule
from gradinc.weights import Weights
from gradinc.window import Window, plan


@dataclass(frozen=True)
class Shape:
    """What a model has to fit: the shape of one input, and how many numbers it gives for it."""

    inputs: tuple[int, ...]
    outputs: int


def build_model(config: Config, shape: Shape, device: torch.device) -> nn.Module:
    """The model with its fresh weights, which depend on the seed and on nothing else."""
    with seeded(config.seed, "initialisation"):
        model: nn.Module = load_part("model", config.model.name)(shape.inputs, shape.outputs, **config.model.options)
    # Convolutions are twice as fast with the channels last in memory, but for float64, which has no such kernel.
    layout = torch.preserve_format if config.dtype == "float64" else torch.channels_last
    return model.to(device=device, dtype=storage_dtype(config.dtype), memory_format=layout)


def build_criterion(dataset: Dataset) -> Criterion:
    """Cross-entropy for sets with classes, squared error for regression."""
    return SquaredError() if dataset.classes is None else CrossEntropy()


def build_learner(config: Config, model: nn.Module, criterion: Criterion, rows: int) -> Learner:
    """The learner for a model that is on its device.

    Args:
        rows: training rows of a task; schedules that end need to know how long a task is.
    """
    strategy = config.strategy
    rule = load_part("rule", strategy.window.rule)(**strategy.window.options)
    methods = [load_part("method", name)(**options) for name, options in strategy.methods.items()]
    check_order({name: type(method) for name, method in zip(strategy.methods, methods, strict=True)})
    weights = Weights(model)
    optimizer = load_part("optimizer", config.optimizer.name)(weights, **config.optimizer.options)
    return Learner(
        model,
        weights,
        criterion,
        optimizer,
        build_schedule(config, rows),
        Window(rule, keeps=any(method.rereads for method in methods)),
        methods,
        seed=config.seed,
        autocast=autocast_dtype(config.dtype),
    )


def build_schedule(config: Config, rows: int) -> Schedule:
    """The schedule over the updates that the budget allows, or over ``schedule.updates`` of them."""
    window, schedule = config.strategy.window, config.schedule
    spans = plan(math.ceil(rows / config.data.batch_size), window.size, 0, window.last)
    per_epoch = sum(span.closes for span in spans)
    if window.last == "drop" and per_epoch == 0:
        raise UserError(
            "strategy.window.last=drop",
            f"an epoch has fewer than strategy.window.size={window.size} micro-batches, so no update would be made",
            "Use last=flush or a smaller window",
        )
    updates = schedule.updates or limits(config.budget, rows).updates(rows, per_epoch)
    return Schedule(schedule.name, schedule.options, warmup=schedule.warmup, updates=updates)
