"""Streams of small tasks made of digits, learners on them, and the loop that trains them."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from functools import cache

import torch

from gradinc.config.compose import load_config
from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.data.batch import Batch
from gradinc.data.dataset import Dataset, load_dataset
from gradinc.data.stream import Stream, Task, open_stream
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model

torch.set_num_threads(1)

SMALL = ("data=digits", "model=mlp", "model.width=12", "model.depth=1", "dtype=float64", "optimizer.momentum=0")


@cache
def config(*words: str) -> Config:
    return load_config([*SMALL, *words])


@cache
def digits(dtype: torch.dtype = torch.float64) -> Dataset:
    return load_dataset(config().data, "cpu", dtype)


def stream(*words: str) -> Stream:
    return open_stream(config(*words), digits())


def learner(tasks: Stream, *words: str) -> Learner:
    """A learner before its first task."""
    chosen = config(*words)
    model = build_model(chosen, Shape(digits().shape, tasks.setting.outputs), torch.device("cpu"))
    return build_learner(chosen, model, build_criterion(digits(), tasks.outputs), tasks.longest, tasks)


def micro_batches(task: Task, count: int, size: int) -> list[Batch]:
    """The first rows of a task, in its own order."""
    return [
        Batch(x, y, task.index, float(len(y)), tasks=b.tasks)
        for b in task.batches(size, rows=count * size)
        for x, y in [(b.x, b.y)]
    ]


def train(
    learner: Learner, tasks: Stream, *, count: int = 8, size: int = 8, window: int = 2, start: tuple[int, int] = (0, 0)
) -> Iterator[tuple[int, int]]:
    """Train on task after task, `count` micro-batches of each; yields where it is wherever a run may be saved.

    Args:
        start: task and micro-batch to go on with.
    """
    first, place = start
    for index in range(first, len(tasks)):
        task = tasks[index]
        if place == 0:
            learner.begin(task)
        for number, batch in enumerate(micro_batches(task, count, size)):
            if number < place:
                continue
            if learner.window.taken == 0:
                learner.open(size * window, window)
            learner.take(batch)
            if learner.window.taken == window:
                learner.update()
            if number + 1 < count:
                yield index, number + 1
        learner.end(task)
        place = 0
        yield index + 1, 0


def finished(learner: Learner, tasks: Stream, **options: int) -> Learner:
    """The learner after all tasks."""
    for _ in train(learner, tasks, **options):  # type: ignore[arg-type]
        pass
    return learner


def restored(learner: Learner, make: Callable[[], Learner]) -> Learner:
    """Another learner that goes on from what a checkpoint has of this one."""
    file = io.BytesIO()
    torch.save(learner.state_dict(), file)
    file.seek(0)
    other = make()
    other.load_state_dict(torch.load(file, weights_only=True))
    return other
