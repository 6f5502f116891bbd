"""Windows of 512 rows in smaller micro-batches, in float32 and bfloat16, against one micro-batch in float32."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from itertools import product

from gradinc.config.compose import load_config
from gradinc.data.batch import Batch
from gradinc.data.rows import TensorRows
from gradinc.runs.build import build_criterion, build_learner
from gradinc.runs.device import pin
from gradinc.studies.bench.harness import (
    CPU,
    MLP,
    PLAIN_SGD,
    Bench,
    BenchResult,
    bench_model,
    in_turns,
    random_dataset,
    summarized,
)

_WINDOW, _WINDOWS = 512, 4
"""Rows of a window, and windows of a turn."""

_MODELS = {"mlp": MLP, "cnn": ("model=cnn",)}


def micro_batches() -> dict[str, Bench]:
    """Return the benches by name."""
    every = product(_MODELS, ("float32", "bfloat16"), (512, 128, 64, 16))
    return {
        f"micro-batches of {rows}, {model}, {dtype}": partial(_compared, model, dtype, rows)
        for model, dtype, rows in every
        if (dtype, rows) != ("float32", _WINDOW)
    }


def _compared(model: str, dtype: str, rows: int, rounds: int) -> BenchResult:
    pin(1, CPU)
    pairs = in_turns(_trainer(model, dtype, rows), _trainer(model, "float32", _WINDOW), rounds)
    return summarized(f"micro-batches of {rows}, {model}, {dtype}", "train", pairs, "≥", None)


def _trainer(model: str, dtype: str, rows: int) -> Callable[[], float]:
    """Return a function that trains some windows and returns rows per second."""
    dataset, size = random_dataset(_WINDOW * _WINDOWS), _WINDOW // rows
    words = (f"data.batch_size={rows}", f"strategy.window.size={size}", f"dtype={dtype}", "device=cpu")
    config = load_config([*_MODELS[model], *PLAIN_SGD, *words])
    learner = build_learner(config, bench_model(config), build_criterion(dataset), len(dataset.train))
    assert isinstance(dataset.train, TensorRows)
    batches = [Batch(x, y, 0, rows) for x, y in dataset.train.chunks(rows)]

    def train() -> float:
        begun = time.perf_counter()
        for first in range(0, len(batches), size):
            learner.open(float(_WINDOW), size)
            for batch in batches[first : first + size]:
                learner.take(batch)
            learner.update()
        return _WINDOW * _WINDOWS / (time.perf_counter() - begun)

    return train
