"""The cost of training: rows and tokens taken from the stream, and rows through the model forward and backward."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gradinc.core.world import World

BEFORE_ROWS = "was saved before rows were counted"
"""Reason to refuse an older checkpoint: its rows of replay and teachers are not known."""

_STATE = ("samples", "forward_rows", "backward_rows", "opened", "ended", "began")

_YOUNGER = ("tokens", "token_start", "items")
"""Counts that older checkpoints do not have: their data have no tokens."""


class Work:
    """Exact counts of rows, recorded by the learner where it calls the model; evaluation is not counted.

    On several processes, their separate shares of a window are added when it closes, and rows that every process
    processes alike count once. W processes with windows of K thus count the same as one with windows of W·K.

    Attributes:
        samples: rows of the stream.
        tokens: tokens of these rows; 0 if the data have none.
        token_start: `tokens` when the training on the current task began.
        items: Σ of the items of all updates: what their gradients are means over.
        forward_rows, backward_rows: rows through the model in each direction: the stream's, replayed rows, a teacher's,
            and rows whose gradients a method requests. A row that goes through twice counts twice.
        opened: `rows` before the current window, or now if no window is open.
        ended: `rows` when the training on the last task ended. Rows of the methods' `end` come after that and count
            for the next task.
        began: `rows` when the training on the current task began.
    """

    def __init__(self) -> None:
        self.samples = self.forward_rows = self.backward_rows = self.tokens = self.token_start = 0
        self.items = 0.0
        self.opened = self.ended = self.began = 0.0
        self._mark = self._shares = [0, 0, 0, 0]

    @property
    def rows(self) -> float:
        """The mean of both directions: a row that goes forward and backward counts 1."""
        return (self.forward_rows + self.backward_rows) / 2

    def record(self, batch_size: int) -> dict[str, float]:
        """Return the numbers for records; `passes` are `rows` in micro-batches of `batch_size` rows.

        Only data with tokens have the numbers of tokens and items.
        """
        named = [("rows", self.rows), ("passes", self.rows / batch_size)]
        named += [("tokens", self.tokens), ("items", self.items)] if self.tokens else []
        exact = {name: int(n) if n == int(n) else n for name, n in named}
        return {**exact, "forward_rows": self.forward_rows, "backward_rows": self.backward_rows}

    @property
    def in_task(self) -> tuple[float, float]:
        """Return counts for schedules: rows of the task before the current window, and the part before its training."""
        return self.opened - self.ended, self.began - self.ended

    def open(self, world: World) -> None:
        """Begin a window."""
        if not world.alone:
            self.mark()
        self.opened = self.rows

    def mark(self) -> None:
        """Begin a share that differs between processes."""
        self._mark = self._counts

    def share(self) -> None:
        """Count the rows since `mark` as this process's share."""
        self._shares = [s + n - m for s, n, m in zip(self._shares, self._counts, self._mark, strict=True)]

    def close(self, world: World) -> None:
        """End a window: add the shares of all processes to the rows that all processed alike."""
        if not world.alone:
            told = self._counts if world.leads else self._shares
            self.samples, self.forward_rows, self.backward_rows, self.tokens = world.total(told)
            self._shares = [0, 0, 0, 0]
        self.opened = self.rows

    def state_dict(self) -> dict[str, float]:
        """Return the state that a restart needs, at any moment at which a run may be saved."""
        return {name: getattr(self, name) for name in _STATE + _YOUNGER}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Resume from the result of `state_dict`.

        Raises:
            ValueError: a count is not a number of rows.
        """
        for name in _STATE + _YOUNGER:
            value = state[name] if name in _STATE else state.get(name, getattr(self, name))
            if type(value) is not type(getattr(self, name)) or not 0 <= value < math.inf:
                raise ValueError(f"{name} of the work is not a count")
            setattr(self, name, value)
        self.mark()

    @property
    def _counts(self) -> list[int]:
        return [self.samples, self.forward_rows, self.backward_rows, self.tokens]
