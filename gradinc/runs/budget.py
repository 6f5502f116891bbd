"""The end of a task: the first of several limits that is reached."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from gradinc.data.stream import Stream

EPOCHS_FOR_ROWS = 400_000
"""Approximate number of rows that ``budget.epochs=auto`` trains on."""
EPOCHS_FOR_TOKENS = 1_000_000
"""Approximate number of tokens that it trains on if the rows are text."""
FEWEST_EPOCHS, MOST_EPOCHS = 5, 30
"""Limits of ``budget.epochs=auto``, for all tasks of a stream together; a task has one epoch or more."""


COUNTED = ("steps", "samples", "tokens", "rows", "passes", "seconds")
"""The limits that are checked before every window; epochs and accuracy are checked at an epoch's end."""


class Spent(NamedTuple):
    """The amounts that a task has used so far.

    Attributes:
        rows: rows through the model, the mean of forward and backward (`gradinc.core.work.Work`).
        passes: the same in micro-batches of ``data.batch_size``.
    """

    epochs: int
    steps: int
    samples: int
    tokens: int
    rows: float
    passes: float
    seconds: float


@dataclass(frozen=True)
class Limits:
    """The limits of one task; None is no limit. `accuracy` is on validation data, a share of 1."""

    epochs: int | None = None
    steps: int | None = None
    samples: int | None = None
    tokens: int | None = None
    rows: int | None = None
    passes: int | None = None
    seconds: float | None = None
    accuracy: float | None = None

    def share(self, spent: Spent, epoch_share: float) -> float:
        """Return the used share of the budget, from 0 to 1: the largest share of any limit.

        Args:
            epoch_share: the finished share of the current epoch.
        """
        shares = [getattr(spent, name) / limit for name in COUNTED if (limit := getattr(self, name)) is not None]
        if self.epochs is not None:
            shares.append((spent.epochs + epoch_share) / self.epochs)
        return min(1.0, max(shares, default=0.0))

    def work(self, batch_size: int) -> int | None:
        """Rows through the model after which the task ends, by ``rows`` or by ``passes``."""
        passes = None if self.passes is None else self.passes * batch_size
        return min((limit for limit in (self.rows, passes) if limit is not None), default=None)

    def updates(self, rows: int, updates_per_epoch: int) -> int | None:
        """Return the largest possible number of updates, for schedules; None if it is not known beforehand.

        The methods decide how many rows go through the model for an update, so `work` is a separate limit.

        Args:
            rows: rows of the stream that an epoch trains on.
        """
        counts = []
        if self.epochs is not None:
            counts.append(self.epochs * updates_per_epoch)
        if self.steps is not None:
            counts.append(self.steps)
        if self.samples is not None:
            counts.append(math.ceil(self.samples / rows * updates_per_epoch))
        return min(counts, default=None)


def automatic_epochs(rows: int, tasks: int = 1, tokens: float | None = None, *, each: bool = False) -> int:
    """Return the epochs for ``budget.epochs=auto``.

    Args:
        rows: training rows of a task.
        tasks: number of tasks.
        tokens: mean number of tokens of a row; None if rows have no tokens.
        each: whether every token has a target, so that one epoch can be enough.
    """
    fewest = FEWEST_EPOCHS if tasks == 1 and not each else 1
    wanted = EPOCHS_FOR_ROWS if tokens is None else EPOCHS_FOR_TOKENS / max(tokens, 1)
    return max(fewest, min(MOST_EPOCHS, math.ceil(wanted / max(rows * tasks, 1))))


def limits(budget: object, rows: int, stream: Stream | None = None) -> Limits:
    """Return the limits that a ``budget`` section sets for a task with `rows` training rows.

    ``epochs: auto`` does not apply when one of `COUNTED` ends the task. Tasks that are trained on together have the
    limits of all of them.

    Args:
        rows: training rows of the task, or of all tasks that are trained together.
        stream: the stream of the task; None for ordinary training.
    """
    values = {name: getattr(budget, name) for name in Limits.__dataclass_fields__}
    tasks, together = (1, 1) if stream is None else stream.budgets
    if values["epochs"] == "auto":
        ends = any(values[name] is not None for name in COUNTED)
        text = None if stream is None else stream.setting.text
        tokens = None if stream is None else stream.tokens
        each = text is not None and text.each
        values["epochs"] = None if ends else automatic_epochs(rows // together, tasks, tokens, each=each)
    for name in COUNTED:
        values[name] = None if values[name] is None else values[name] * together
    return Limits(**values)
