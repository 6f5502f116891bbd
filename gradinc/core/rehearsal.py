"""What methods with a memory have in common: opening it, drawing from it, and filling it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.values import Kept
from gradinc.core.memory import Memory
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


def check_classes(name: str, setting: Setting) -> None:
    """Refuse targets that are no classes.

    Args:
        name: of the method.

    Raises:
        UserError: they are none.
    """
    if setting.outputs and not setting.classes:
        what = "needs classes, and the targets of these data are numbers"
        raise UserError(f"strategy.methods.{name}", what, "Use er, der or ewc")


def check_memory(name: str, kind: Kept, rows: int, setting: Setting) -> None:
    """Refuse a ring that has no room for every class, and kinds that need classes where there are none.

    Args:
        name: of the method.
        rows: its option ``memory``.

    Raises:
        UserError: it has none.
    """
    if kind != "reservoir" and setting.outputs and not setting.classes:
        what = "needs classes, and the targets of these data are numbers"
        raise UserError(f"strategy.methods.{name}.kind={kind}", what, "Use kind=reservoir")
    if kind == "ring" and setting.capacity(rows) < setting.pairs:
        what = f"leaves a ring less than one row for each of {setting.pairs} classes of {setting.tasks} tasks"
        raise UserError(
            f"strategy.methods.{name}.memory={rows}", what, f"Use {setting.pairs} or more, or kind=balanced"
        )


def open_memory(memory: Memory, rows: int, task: Task, learner: LearnerView, name: str) -> None:
    """Before the first task: let a memory hold as many rows as a method's option says.

    Args:
        rows: that option; what it counts is up to ``stream.memory_unit``.
        name: of the method: memories of two methods choose independently which rows stay.
    """
    if memory.capacity == 0:
        seed = learner.rng(f"{name}_memory").initial_seed()  # all 63 bits, the same on every device
        pairs = task.setting.pairs or len(task.classes or ()) or 1
        memory.open(task.setting.capacity(rows), seed, pairs)


def replay(batch: Batch, memory: Memory, rows: int, learner: LearnerView, name: str, weight: float = 1.0) -> Batch:
    """A micro-batch with rows drawn from a memory behind its own; as it is while the memory is empty.

    They go through the model together, so that BatchNorm's statistics are those of both.

    Args:
        rows: how many, or all that there are.
        name: what they are drawn for and `Batch.part` finds them by; it begins with the method's name.
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


def squared_error(batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
    """The mean of (z − h)² over rows and the outputs that count for them, with z the kept ``logits``."""
    squares = (out - batch.kept["logits"]).square()
    if not learner.criterion.masks:
        return squares.mean()
    counts = learner.criterion.seen(batch, out.detach()).isfinite()
    return (squares * counts).sum() / counts.sum()
