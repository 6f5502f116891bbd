"""Standard streams for a command that continues when their reader has gone or their disk is full."""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

_PATIENCE = 1.0
"""Seconds to wait at the end for a reader that does not block."""


class Enduring:
    """A text stream whose failures do not end the command: after the first failure, writes are discarded.

    A non-blocking reader misses text that is written while its pipe is full.

    Args:
        stream: the stream to write to; other attributes are forwarded to it.
        name: name of the stream in the message on standard error; without a name there is no message.
    """

    def __init__(self, stream: IO[str], name: str = "") -> None:
        self._stream, self._name = stream, name

    def write(self, text: str) -> int:
        """Write, and ignore an error."""
        with self._enduring():
            self._stream.write(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each line."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush, and ignore an error."""
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
                sys.stderr.write(f"{self._name}: cannot be written ({error.strerror}). The run continues without it.\n")


@contextmanager
def going_on() -> Iterator[None]:
    """Let the command inside continue when standard output fails: training matters more than its display."""
    before = sys.stdout
    sys.stdout = cast(Any, Enduring(before, "standard output"))
    try:
        yield
    finally:
        with suppress(OSError, ValueError):  # a full disk is reported, if standard error can be written
            sys.stdout.flush()
        settle(before)
        sys.stdout = before


def settle(stream: IO[str]) -> None:
    """Write buffered text; discard text that cannot be written, else Python would fail with it again at exit."""
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
    """Discard all later writes to a stream and the text in its buffer."""
    with suppress(OSError, ValueError):  # a stream that is not a file
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, stream.fileno())
        os.close(nobody)
