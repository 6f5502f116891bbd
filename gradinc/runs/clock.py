"""The training time of a run over all its starts."""

from __future__ import annotations

import time
from collections.abc import Callable


class RunClock:
    """A clock that continues from the time of a run's earlier starts.

    Args:
        before: seconds that earlier starts took.
        now: returns a time in seconds.
    """

    def __init__(self, before: float = 0.0, now: Callable[[], float] = time.monotonic) -> None:
        self._before, self._now, self._started = before, now, now()

    @property
    def seconds(self) -> float:
        """Seconds that the run has taken so far, over all its starts."""
        return self._before + self._now() - self._started
