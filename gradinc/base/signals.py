"""Signals that ask a run to stop: its state is saved first. A second signal ends the process at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from gradinc.base.errors import Interrupted

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interruption:
    """The signal that has come, if any.

    Attributes:
        signum: the signal's number, or 0.
        deferred: whether a signal waits for the next `check`; before that there is nothing to save, and a signal
            raises `Interrupted` anywhere in the program.
    """

    def __init__(self) -> None:
        self.signum = 0
        self.deferred = False

    def check(self) -> None:
        """Stop here if a signal has come.

        Raises:
            Interrupted: a signal has come.
        """
        if self.signum:
            raise Interrupted(self.signum)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.signum = signum
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        if not self.deferred:
            self.check()


@contextmanager
def interruption() -> Iterator[Interruption]:
    """Catch signals inside; outside the main thread, where Python cannot catch them, they act as always."""
    state = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield state
        return
    before = {number: signal.signal(number, state._handle) for number in SIGNALS}
    try:
        yield state
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
