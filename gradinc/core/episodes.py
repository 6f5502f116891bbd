"""Episodic memory: the same number of examples of each task, drawn from all of its rows when the task ends."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.values import Drawn
from gradinc.data.batch import Batch, items_of
from gradinc.data.padding import PAD
from gradinc.data.task import Setting, Task

_TOKENS = "tokens."
"""Beginning of the names of fields whose rows are stored one after the other."""


def share(memory: int, setting: Setting) -> int:
    """Return the number of examples of one task, for a method's option ``memory``.

    Raises:
        UserError: the number of tasks is needed, and it is not known.
    """
    if setting.memory_unit == "task":
        return memory
    if not setting.tasks:
        raise UserError("tasks", "is not given, and the memory is shared by all tasks", "Give the number of tasks")
    return setting.capacity(memory) // setting.tasks


def check_share(name: str, memory: int, setting: Setting) -> None:
    """Refuse a memory that is too small for one example of every task.

    Args:
        name: name of the method.

    Raises:
        UserError: the memory is too small.
    """
    if share(memory, setting) == 0:
        what = f"leaves less than one example for each of {setting.tasks} tasks"
        fix = f"Use {setting.least(setting.tasks)} or more{setting.per}, or stream.memory_unit=task"
        raise UserError(f"strategy.methods.{name}.memory={memory}", what, fix)


def drawn(task: Task, count: int, random: torch.Generator, kind: Drawn = "random") -> dict[str, Tensor]:
    """Draw `count` rows of a task at random, or all rows of a smaller task: ``x``, ``y`` and ``tasks``.

    Rows of tokens are one after the other without padding, with their ``lengths``: `rows_of` returns them as rows.

    Args:
        kind: random, or balanced: random rows with the same number for each class, as `Task.batches` draws them.

    Raises:
        UserError: balanced rows need classes.
    """
    if kind == "balanced" and task.classes is None:  # in an own loop only the task's rows say what the targets are
        raise UserError("balanced examples", "need classes, and the targets of this task are none", "Use random ones")
    (rows,) = task.batches(count, rows=count, random=random, balanced=kind == "balanced")
    found = {"x": rows.x, "y": rows.y, "tasks": rows.task_of_rows}
    found |= {} if rows.terms is None else {"terms": rows.terms}
    if task.train.lengths is None:
        return found
    places = torch.arange(1, rows.x.shape[1] + 1, device=rows.x.device)
    lengths = torch.where(rows.x == PAD, 0, places).amax(1)
    real = places <= lengths[:, None]
    stored = {_TOKENS + name if field.dim() > 1 else name: field for name, field in found.items()}
    return {name: field[real] if field.dim() > 1 else field for name, field in stored.items()} | {"lengths": lengths}


def rows_of(memory: dict[str, Tensor], chosen: Tensor | None = None) -> dict[str, Tensor]:
    """Return rows of a memory; rows of tokens are padded to the longest of them.

    Args:
        chosen: their positions, int64, shape (n,); None for all.
    """
    if "lengths" not in memory:
        return memory if chosen is None else {name: field[chosen] for name, field in memory.items()}
    lengths, size = memory["lengths"], int(memory["lengths"].sum())
    starts = lengths.cumsum(0) - lengths
    if chosen is not None:
        starts, lengths = starts[chosen], lengths[chosen]
    positions = torch.arange(max(1, int(lengths.max())), device=lengths.device)
    places = (starts[:, None] + positions).clamp(max=size - 1)
    absent = positions >= lengths[:, None]
    found = {}
    for name, field in memory.items():
        if name.startswith(_TOKENS):
            found[name.removeprefix(_TOKENS)] = field[places].masked_fill_(absent, PAD)
        elif name != "lengths":
            found[name] = field if chosen is None else field[chosen]
    return found


def batch_of(rows: dict[str, Tensor], task: int) -> Batch:
    """Return rows of a memory as a batch of the stream's current task; the masks of this task may apply to them."""
    terms = rows.get("terms")
    items = items_of(len(rows["y"]), None, terms)
    return Batch(rows["x"], rows["y"], task, items, tasks=rows["tasks"], terms=terms)


def sampled(memory: dict[str, Tensor], sample: int, random: torch.Generator) -> Tensor | None:
    """Draw positions of a sample from a memory, int64, shape (sample,), or None if the memory is not larger."""
    size = len(memory.get("tasks", ()))
    if size <= sample:
        return None
    return torch.randperm(size, generator=random, device=random.device)[:sample]


def with_examples(
    memory: dict[str, Tensor], task: Task, capacity: int, random: torch.Generator, kind: Drawn = "random"
) -> dict[str, Tensor]:
    """Return a memory with the task's share of examples after those of earlier tasks.

    Args:
        capacity: a method's option ``memory``.
        kind: selection of the rows, as in `drawn`.
    """
    new = drawn(task, share(capacity, task.setting), random, kind)
    return {name: torch.cat((memory[name], rows)) if memory else rows for name, rows in new.items()}
