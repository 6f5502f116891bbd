"""The command that started the current work, for messages that say how to resume it and for records."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_CALLED: ContextVar[str | None] = ContextVar("_CALLED", default=None)


def this_command() -> str:
    """Return the command that started this process, or the call that `called_as` names."""
    arguments = sys.argv[1:] if sys.argv else []
    return _CALLED.get() or shlex.join(["gradinc", *arguments])


@contextmanager
def called_as(command: str) -> Iterator[None]:
    """Inside, `this_command` is this text: for work that another program than gradinc's command line starts."""
    token = _CALLED.set(command)
    try:
        yield
    finally:
        _CALLED.reset(token)
