"""`gradinc bench strategies`: the cost of each rule, each method and the diagnostics, relative to plain accumulation.

An MLP of 784-256-256-10 on random rows, micro-batches of 128, windows of 8, SGD, one thread. A strategy and plain
accumulation take turns of some windows each, and alternate in going first. The bench measures the processor time of
this process, which other processes disturb less than wall time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from functools import partial

import torch

from gradinc.config import catalog, groups
from gradinc.config.compose import load_config
from gradinc.core.criterion import CrossEntropy
from gradinc.core.learner import Learner
from gradinc.data.batch import Batch
from gradinc.data.task import Task
from gradinc.runs.build import build_learner
from gradinc.runs.device import pin
from gradinc.studies.bench.harness import (
    CPU,
    MLP,
    PLAIN_SGD,
    Bench,
    BenchResult,
    bench_model,
    in_turns,
    summarized,
)

GOALS = {
    "sam": 2.1,
    "median": 1.6,
    "diagnostics": 1.03,
    **dict.fromkeys(("grokfast", "centralize", "noise", "clip", "agc"), 1.1),
}
"""Largest accepted cost."""

_ROWS, _SIZE, _WINDOWS = 128, 8, 8
"""Rows per micro-batch, micro-batches per window, windows per turn."""


def costs() -> dict[str, Bench]:
    """Return the benches by the name of the measured part: each rule, the methods and the diagnostics."""
    kinds = {**dict.fromkeys(rules(), "rule"), **dict.fromkeys(general_methods(), "method"), "diagnostics": "option"}
    return {name: partial(cost, name, kind) for name, kind in kinds.items()}


def general_methods() -> list[str]:
    """Return the methods for any data; the cost of methods for sequences depends on their memory and their past."""
    purposes = {choice.name: choice.purpose for choice in groups.choices("strategy")}
    return [part.name for part in catalog.parts("method") if not purposes.get(part.name)]


def rules() -> list[str]:
    """Return all rules except the rule that they are compared with."""
    return [part.name for part in catalog.parts("rule") if part.name != "mean"]


def command(name: str) -> str:
    """Return the argument that chooses a rule, a method or the option."""
    if name == "diagnostics":
        return "diagnostics=true"
    return f"strategy.window.rule={name}" if name == "sum" else f"strategy={name}"


def cost(name: str, kind: str, rounds: int) -> BenchResult:
    """Return the ratio of the processor time of a strategy to plain accumulation, measured in turns: of the medians."""
    pin(1, CPU)
    pairs = in_turns(_Trainer(command(name)).turn, _Trainer().turn, rounds)
    ratio = statistics.median(mine for mine, _ in pairs) / statistics.median(other for _, other in pairs)
    return summarized(name, kind, pairs, "≤", GOALS.get(name), ratio)


class _Trainer:
    """A learner that continues training from turn to turn."""

    def __init__(self, *overrides: str) -> None:
        keys = (f"data.batch_size={_ROWS}", f"strategy.window.size={_SIZE}", "optimizer.lr=0.0001", "device=cpu")
        config = load_config([*MLP, *PLAIN_SGD, *overrides, *keys])
        model = bench_model(config)
        self._learner: Learner = build_learner(config, model, CrossEntropy(), _ROWS * _SIZE * _WINDOWS)
        random = torch.Generator().manual_seed(0)
        self._x = torch.randn(_ROWS * _SIZE, 1, 28, 28, generator=random)
        self._y = torch.randint(0, 10, (_ROWS * _SIZE,), generator=random)
        nothing: Task = None  # type: ignore[assignment]  # these methods do not use their task
        for method in self._learner.methods:
            method.begin(nothing, self._learner)

    def turn(self) -> float:
        """Return the seconds of processor time for one turn of windows."""
        learner = self._learner
        begun = time.process_time()
        for _ in range(_WINDOWS):
            learner.open(float(_ROWS * _SIZE), _SIZE)
            for batch in self._batches():
                learner.take(batch)
            learner.update()
        return time.process_time() - begun

    def _batches(self) -> Iterator[Batch]:
        for x, y in zip(self._x.split(_ROWS), self._y.split(_ROWS), strict=True):
            yield Batch(x, y, 0, float(_ROWS))
