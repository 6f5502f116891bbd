"""What training costs: the rows that it takes from the stream, and through the model forward and backward."""

from __future__ import annotations

import math
from collections.abc import Mapping

from gradinc.core.world import World

BEFORE_ROWS = "was saved before rows were counted"
"""What is wrong with an older checkpoint: what replay and teachers took until then is not known."""

_STATE = ("samples", "forward_rows", "backward_rows", "opened", "ended", "began")


class Work:
    """Exact counts of rows. The learner keeps them where it calls the model; measuring is no part of them.

    On several processes, what each takes of a window is added up when the window closes, and what every process does
    alike counts once, so that W processes with windows of K count what one with windows of W·K does.

    Attributes:
        samples: rows of the stream.
        forward_rows, backward_rows: rows that went through the model each way, whatever for: the stream's, replayed
            ones, a teacher's, those whose gradients a method asks for. A row that goes twice counts twice.
        opened: `rows` before the present window, or so far where none is open.
        ended: `rows` when the training on the last task ended. What methods take at a task's end comes after that,
            and so is part of the task that follows.
        began: `rows` when the training on the present task began.
    """

    def __init__(self) -> None:
        self.samples = self.forward_rows = self.backward_rows = 0
        self.opened = self.ended = self.began = 0.0
        self._mark = self._shares = [0, 0, 0]

    @property
    def rows(self) -> float:
        """The mean of both ways: a row that goes forward and backward is 1."""
        return (self.forward_rows + self.backward_rows) / 2

    def record(self, batch_size: int) -> dict[str, float]:
        """What records say of it; `passes` are `rows` in micro-batches of so many rows."""
        rows, passes = self.rows, self.rows / batch_size
        exact = {name: int(n) if n == int(n) else n for name, n in (("rows", rows), ("passes", passes))}
        return {**exact, "forward_rows": self.forward_rows, "backward_rows": self.backward_rows}

    @property
    def in_task(self) -> tuple[float, float]:
        """What schedules go by: rows of the task before the present window, and those of them before its training."""
        return self.opened - self.ended, self.began - self.ended

    def open(self) -> None:
        """Begin a window."""
        self.mark()
        self.opened = self.rows

    def mark(self) -> None:
        """Begin what processes share out."""
        self._mark = self._counts

    def share(self) -> None:
        """What was taken since the mark is this process's share."""
        self._shares = [s + n - m for s, n, m in zip(self._shares, self._counts, self._mark, strict=True)]

    def close(self, world: World) -> None:
        """End a window: every process counts the shares of all, and what all did alike as the first one has it."""
        if not world.alone:
            told = self._counts if world.leads else self._shares
            self.samples, self.forward_rows, self.backward_rows = world.total(told)
            self._shares = [0, 0, 0]
        self.opened = self.rows

    def state_dict(self) -> dict[str, float]:
        """Everything that a restart needs, at any moment at which a run may be saved."""
        return {name: getattr(self, name) for name in _STATE}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            ValueError: a count is none.
        """
        for name in _STATE:
            value = state[name]
            if type(value) is not type(getattr(self, name)) or not 0 <= value < math.inf:
                raise ValueError(f"{name} of the work is no count")
            setattr(self, name, value)
        self.mark()

    @property
    def _counts(self) -> list[int]:
        return [self.samples, self.forward_rows, self.backward_rows]
