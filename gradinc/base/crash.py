"""Named points at which a test can kill the program, to show that a run survives it."""

from __future__ import annotations

import os
import signal

_name, _, _visit = os.environ.get("GRADINC_CRASH", "").partition(":")
visits_left = int(_visit or 1) if _name else 0
"""Number of times that the named point must still be reached before the process is killed."""


def crash_point(name: str) -> None:
    """Kill this process by SIGKILL if ``GRADINC_CRASH`` is ``name`` or ``name:visit``."""
    global visits_left
    if name == _name:
        visits_left -= 1
        if visits_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
