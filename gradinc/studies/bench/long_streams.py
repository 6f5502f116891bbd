"""The part of `gradinc bench incremental` about streams of many tasks: later tasks must not cost more.

Each line but the first two is one run: the processor time of a task and the memory of the process, in the last quarter
of the tasks over those in the second quarter. The first quarter fills memories and allocators.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median

from gradinc.config.compose import load_config
from gradinc.data.dataset import Dataset
from gradinc.data.rows import Rows, TensorRows
from gradinc.data.stream import Stream, open_stream
from gradinc.runs.build import build_criterion
from gradinc.runs.display import Silent
from gradinc.runs.evaluate import evaluate
from gradinc.studies.bench.harness import (
    MLP,
    Bench,
    BenchResult,
    bench_model,
    in_turns,
    random_dataset,
    summarized,
    timed_run,
)

_GOAL = 1.05
_METHODS = {
    "finetune": (),
    "er": ("strategy=er", "strategy.methods.er.memory=200"),
    "agem": ("strategy=agem", "stream.memory_unit=task", "strategy.methods.agem.memory=1"),
    "gpm": ("strategy=gpm", "strategy.methods.gpm.rows=100"),
    "ewc online": ("strategy=ewc", "strategy.methods.ewc.mode=online", "strategy.methods.ewc.rows=100"),
}
_NEEDED = "evaluate.tasks=needed"


def long_streams(words: Sequence[str], tasks: int, rows: int) -> dict[str, Bench]:
    """Return the benches by name.

    Args:
        words: the overrides of the bench's other streams.
        tasks, rows: tasks of a stream and training rows of a task in the bench's other streams; streams here have
            20 times as many tasks, each with a 64th of the rows.
    """
    few = random_dataset(max(1, rows // 64), max(1, rows // 64))
    words = [*words, f"stream.tasks={20 * tasks}"]
    benches: dict[str, Bench] = {
        "evaluation, views over copies": partial(_views, [*words, f"stream.tasks={tasks}"], rows),
        "evaluation, needed over all so far": partial(_needed, words, few),
    }
    for name, own in _METHODS.items():
        label = f"{name}, late task over early"
        benches[label] = partial(_growth, label, "cost", [*words, *own, _NEEDED], few)
    label = "er, late memory over early"
    benches[label] = partial(_growth, label, "memory", [*words, *_METHODS["er"], _NEEDED], few)
    return benches


class _Pace(Silent):
    """Records the processor time and the memory after each task."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.bytes: list[float] = []

    def measured(self, done: int, row: list[float | None]) -> None:
        """Record them."""
        self.seconds.append(time.process_time())
        self.bytes.append(float(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE"))


def _growth(label: str, kind: str, words: Sequence[str], dataset: Dataset, rounds: int) -> BenchResult:
    """Return the ratio of the last quarter of the tasks to the second, without the last task, which measures all."""
    pairs = []
    for _ in range(rounds):
        pace = _Pace()
        timed_run(words, dataset, pace)
        seconds = [after - before for before, after in zip(pace.seconds, pace.seconds[1:-1], strict=False)]
        found = seconds if kind == "cost" else pace.bytes[1:-1]
        quarter = len(found) // 4
        pairs.append((median(found[3 * quarter :]), median(found[quarter : 2 * quarter])))
    return summarized(label, kind, pairs, "≤", _GOAL)


def _needed(words: Sequence[str], dataset: Dataset, rounds: int) -> BenchResult:
    """Compare a run that measures only the needed accuracies with a run that measures all tasks so far."""
    pairs = in_turns(lambda: timed_run([*words, _NEEDED], dataset)[0], lambda: timed_run(words, dataset)[0], rounds)
    return summarized("evaluation, needed over all so far", "cost", pairs, "≤", 0.8)


def _views(words: Sequence[str], rows: int, rounds: int) -> BenchResult:
    """Compare evaluation of the tasks of a stream with evaluation of stored copies of their rows."""
    config, dataset = load_config([*words, *MLP]), random_dataset(1, max(1, rows // 6))
    stream, model = open_stream(config, dataset), bench_model(config)
    criterion = build_criterion(dataset, stream.outputs)
    copies = [_copy(stream, task) for task in range(stream.tested)]

    def measure(parts: Sequence[Rows]) -> float:
        begun = time.process_time()
        for task, part in enumerate(parts):
            evaluate(model, part, criterion, task=task)
        return time.process_time() - begun

    views = [stream.part("test", task) for task in range(stream.tested)]
    pairs = in_turns(lambda: measure(views), lambda: measure(copies), rounds)
    return summarized("evaluation, views over copies", "cost", pairs, "≤", 1.3)


def _copy(stream: Stream, task: int) -> TensorRows:
    view = stream.part("test", task)
    ((x, y),) = view.chunks(len(view))
    return TensorRows(x, y)
