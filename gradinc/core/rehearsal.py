"""Functions shared by methods with a memory: opening it, drawing from it and filling it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.values import Among, Drawn, Kept, ReplayLoss
from gradinc.core.memory import Memory, MemoryRows
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch, items_of
from gradinc.data.task import Setting, Task


def check_classes(name: str, setting: Setting) -> None:
    """Refuse targets that are not classes.

    Args:
        name: name of the method.

    Raises:
        UserError: the targets are numbers.
    """
    if setting.outputs and not setting.classes:
        what = f"needs classes, and the targets of these data are {_targets(setting)}"
        raise UserError(f"strategy.methods.{name}", what, "Use er or ewc")


def check_outputs(name: str, setting: Setting) -> None:
    """Refuse a language model, which has outputs for each token, where a method needs the outputs of a row.

    Args:
        name: name of the method.

    Raises:
        UserError: the targets are tokens.
    """
    if setting.text is not None and setting.text.each:
        what = "needs one vector of outputs for a row, and a language model has one for each token"
        raise UserError(f"strategy.methods.{name}", what, "Use er, agem, gem, ewc or si")


def _targets(setting: Setting) -> str:
    return "tokens" if setting.text is not None and setting.text.each else "numbers"


def check_kind(method: str, option: str, kind: Kept | Drawn, plain: Kept | Drawn, setting: Setting) -> None:
    """Refuse a selection of rows that needs classes if the targets are numbers or tokens.

    Args:
        method, option: name of the method, and of its option for the selection.
        kind: the option's value.
        plain: the value that needs no classes.

    Raises:
        UserError: the selection needs classes.
    """
    if kind != plain and setting.outputs and not setting.classes:
        what = f"needs classes, and the targets of these data are {_targets(setting)}"
        raise UserError(f"strategy.methods.{method}.{option}={kind}", what, f"Use {option}={plain}")


def check_memory(name: str, kind: Kept, rows: int, setting: Setting) -> None:
    """Refuse a ring with less than one row for every class, and kinds that need classes if the targets are not.

    Args:
        name: name of the method.
        rows: its option ``memory``.

    Raises:
        UserError: the memory is too small or needs classes.
    """
    check_kind(name, "kind", kind, "reservoir", setting)
    if kind == "ring" and setting.capacity(rows) < setting.pairs:
        what = f"leaves a ring less than one row for each of {setting.pairs} classes of {setting.tasks} tasks"
        fix = f"Use {setting.least(setting.pairs)} or more{setting.per}, or kind=balanced"
        raise UserError(f"strategy.methods.{name}.memory={rows}", what, fix)


def open_memory(memory: Memory, rows: int, task: Task, learner: LearnerView, name: str) -> None:
    """Open a memory before the first task, with the capacity of a method's option.

    Args:
        rows: the option; ``stream.memory_unit`` defines what it counts.
        name: name of the method: memories of two methods choose their rows independently.
    """
    if memory.capacity == 0:
        seed = learner.rng(f"{name}_memory").initial_seed()  # all 63 bits, the same on every device
        pairs = task.setting.pairs or len(task.classes or ()) or 1
        memory.ragged = task.train.lengths is not None
        memory.open(task.setting.capacity(rows), seed, pairs)


def replay(
    batch: Batch,
    memory: Memory,
    rows: int,
    learner: LearnerView,
    *names: str,
    weight: float = 1.0,
    among: Among = "all",
    loss: ReplayLoss = "pooled",
) -> Batch:
    """Append rows drawn from a memory to a micro-batch; without rows to draw from, the batch stays unchanged.

    All rows go through the model together, so that BatchNorm's statistics include both.

    Args:
        rows: number of rows to draw for each name, at most the memory's.
        names: purpose of each draw and its name for `Batch.part`; it begins with the method's name.
        weight: weight of each drawn row in the criterion.
        among: whether all rows are drawn from, or those of past tasks.
        loss: as in `replaying`.
    """
    candidates = past_slots(memory, batch) if among == "past" else None
    if (len(memory) if candidates is None else len(candidates)) == 0:
        return batch
    stored = memory.rows(torch.cat([drawn_slots(memory, rows, learner.rng(name), candidates) for name in names]))
    return replaying(batch, stored, learner, *names, weight=weight, loss=loss)


def replaying(
    batch: Batch, rows: MemoryRows, learner: LearnerView, *names: str, weight: float = 1.0, loss: ReplayLoss = "pooled"
) -> Batch:
    """Append rows of a memory to a micro-batch.

    Args:
        names: names of the rows for `Batch.part`; several names share the rows evenly, one after another.
        weight: weight of each row in the criterion, with loss=pooled.
        loss: pooled, the mean over all rows, or sum, the mean over the micro-batch plus the mean over these rows.
    """
    terms = learner.criterion.terms(rows["y"])
    if loss == "pooled":
        return batch.replaying(**rows, weight=weight, names=names, terms=terms)
    # Each of r replayed rows has the weight n/r next to n rows of the stream; the window is divided by the n only.
    weight = batch.items / (items_of(len(rows["y"]), None, terms) or 1.0)
    return replace(batch.replaying(**rows, weight=weight, names=names, terms=terms), items=batch.items)


def past_slots(memory: Memory, batch: Batch) -> Tensor | None:
    """Return the slots with rows of other tasks than a micro-batch's, int64, shape (n,); None for an empty memory."""
    return (memory.rows()["tasks"] != batch.task).nonzero().squeeze(1) if len(memory) else None


def drawn_slots(memory: Memory, rows: int, random: torch.Generator, among: Tensor | None = None) -> Tensor:
    """Draw slots of a memory, int64, shape (n,); all of them if there are no more than `rows`.

    Args:
        among: the slots to draw from; by default all.
    """
    slots = memory.slots(rows, random, among)
    return torch.arange(len(memory), device=random.device) if slots is None else slots


def fill(memory: Memory, window: Window, **fields: Sequence[Tensor]) -> None:
    """Offer a memory the stream's rows of a window, as they were trained on.

    Args:
        fields: further fields to store, for each micro-batch, shape (rows, …) with the stream's rows first.
    """
    for index, batch in enumerate(window.batches):
        if batch.repeat:  # the memory has been offered these rows
            continue
        fresh = slice(batch.fresh)
        more = {name: values[index][fresh] for name, values in fields.items()}
        memory.add(x=batch.x[fresh], y=batch.y[fresh], tasks=batch.task_of_rows[fresh], **more)


def distance_from_stored(batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
    """Return the mean of (z − h)² over rows and the outputs that count for them, with z the stored ``logits``."""
    squares = (out - batch.kept["logits"]).square()
    if not learner.criterion.masks:
        return squares.mean()
    counts = learner.criterion.seen(batch, out.detach()).isfinite()
    return (squares * counts).sum() / counts.sum()
