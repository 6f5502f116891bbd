"""Standard streams of a command that goes on when nobody reads them any more, or when the disk they go to is full."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

_PATIENCE = 1.0
"""Seconds that a reader who does not block has at the end for what was not written yet."""


class Enduring:
    """A text stream whose failures end nothing: after the first one, what is written goes nowhere.

    A reader whose pipe is full for the moment, and does not block, misses what is written meanwhile.

    Args:
        stream: where it is written; what is not asked for here is asked of it.
        name: what standard error is told that cannot be written; nothing is told without one.
    """

    def __init__(self, stream: IO[str], name: str = "") -> None:
        self._stream, self._name = stream, name

    def write(self, text: str) -> int:
        """Write, unless that fails."""
        with self._enduring():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each of them."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, unless that fails."""
        with self._enduring():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _enduring(self) -> Iterator[None]:
        try:
            yield
        except BlockingIOError:
            pass
        except OSError as error:
            _forget(self._stream)
            if self._name and not isinstance(error, BrokenPipeError):
                sys.stderr.write(f"{self._name}: cannot be written ({error.strerror}). The run goes on without it.\n")


@contextmanager
def going_on() -> Iterator[None]:
    """Standard output cannot end what is done inside: training is worth more than being watched."""
    before = sys.stdout
    sys.stdout = cast(Any, Enduring(before, "standard output"))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # what a disk has no room for is told, if anybody can be told
            sys.stdout.flush()
        settle(before)
        sys.stdout = before


def settle(stream: IO[str]) -> None:
    """Write what waits; what cannot be written is given up, else Python would fail with it once more at its own end."""
    until = time.monotonic() + _PATIENCE
    while True:
        try:
            stream.flush()
            return
        except BlockingIOError:
            if time.monotonic() > until:
                break
            select.select([], [stream], [], 0.1)
        except (OSError, ValueError):
            break
    _forget(stream)
    with suppress(OSError, ValueError):
        stream.flush()


def _forget(stream: IO[str]) -> None:
    """Have nobody read a stream from now on, what waits in its buffer included."""
    with suppress(OSError, ValueError):  # one that is no file
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, stream.fileno())
        os.close(nobody)
