"""Episodic memory: the same number of examples of every task so far, drawn at its end from all of its rows."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


def share(memory: int, setting: Setting) -> int:
    """The examples of one task, where a method's option says ``memory``."""
    return setting.capacity(memory) // setting.tasks


def check_share(name: str, memory: int, setting: Setting) -> None:
    """Refuse a memory that has no room for every task.

    Args:
        name: of the method.

    Raises:
        UserError: it has none.
    """
    if share(memory, setting) == 0:
        what = f"leaves less than one example for each of {setting.tasks} tasks"
        mend = f"Use {setting.tasks} or more, or stream.memory_unit=task"
        raise UserError(f"strategy.methods.{name}.memory={memory}", what, mend)


def drawn(task: Task, count: int, random: torch.Generator) -> dict[str, Tensor]:
    """That many rows of a task at random, or all if it has fewer: ``x``, ``y`` and ``tasks``."""
    (rows,) = task.batches(count, rows=count, random=random)
    return {"x": rows.x, "y": rows.y, "tasks": rows.task_of_rows}


def batch_of(rows: dict[str, Tensor], task: int) -> Batch:
    """Rows of a memory as a batch while the stream is in a task, whose outputs they may be masked by."""
    return Batch(rows["x"], rows["y"], task, float(len(rows["y"])), tasks=rows["tasks"])
