"""What methods with a memory have in common: opening it, drawing from it, and filling it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradinc.batch import Batch
from gradinc.data.stream import Task
from gradinc.learner import Learner
from gradinc.memory import Memory
from gradinc.window import Window


def open_memory(memory: Memory, rows: int, task: Task, learner: Learner) -> None:
    """Before the first task: let a memory hold as many rows as a method's option says.

    Args:
        rows: that option; what it counts is up to ``stream.memory_unit``.
    """
    if memory.capacity == 0:
        random = learner.rng("memory")
        seed = int(torch.randint(2**62, (), generator=random, device=random.device))
        pairs = task.setting.pairs or len(task.classes or ()) or 1
        memory.open(task.setting.capacity(rows), seed, pairs)


def replay(batch: Batch, memory: Memory, rows: int, learner: Learner, name: str, weight: float = 1.0) -> Batch:
    """A micro-batch with rows drawn from a memory behind its own; as it is while the memory is empty.

    Args:
        rows: how many, or all that there are.
        name: what `Batch.part` finds them by.
        weight: of each of them in the criterion.
    """
    if len(memory) == 0:
        return batch
    return batch.replaying(**memory.draw(rows, learner.rng(name)), weight=weight, name=name)


def fill(memory: Memory, window: Window, **fields: Sequence[Tensor]) -> None:
    """Offer a memory the stream's rows of a window, as they were trained on.

    Args:
        fields: of each micro-batch what else to keep, shape (rows, …) with the stream's rows first.
    """
    for index, batch in enumerate(window.batches):
        fresh = slice(batch.fresh)
        more = {name: values[index][fresh] for name, values in fields.items()}
        memory.add(x=batch.x[fresh], y=batch.y[fresh], tasks=batch.task_of_rows[fresh], **more)


def squared_error(batch: Batch, out: Tensor, learner: Learner) -> Tensor:
    """The mean of (z − h)² over rows and the outputs that count for them, with z the kept ``logits``."""
    squares = (out - batch.kept["logits"]).square()
    if not learner.criterion.masks:
        return squares.mean()
    counts = learner.criterion.seen(batch, out.detach()).isfinite()
    return (squares * counts).sum() / counts.sum()
