"""Who holds a directory: the lock says so, whatever has become of the process that took it. No torch here.

The number of a process is no proof that it holds anything: in a container every first process has number 1, and a
number is given again. ``owner.json`` says whose the lock is, for people; the system lets go of the lock itself when
its process ends, and a file system that several machines share keeps it for all of them.
"""

from __future__ import annotations

import fcntl
import os
import platform
import time
from pathlib import Path
from typing import Any

from gradinc.records.schemas import read_json

LOCK, OWNER = ".lock", "owner.json"

PATIENCE = 0.5
"""Seconds for which a lock is waited for: whoever looks whether it is held has it for a moment."""

ANOTHER = "another process"


def is_held(path: Path) -> bool:
    """Whether a process, here or on another machine, holds a directory. Nothing in it is changed."""
    try:
        file = os.open(path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # nobody ever held it, or it is no directory of a run
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # several may look at once
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(file)
    return False


def owner() -> dict[str, Any]:
    """What this process says of itself while it holds a directory."""
    return {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def living_owner(path: Path) -> str | None:
    """Who holds a directory, as ``process 4711 (since 12:03)``; None where nobody does."""
    if not is_held(path):
        return None
    said = read_json(path / OWNER) or {}
    pid, host, since = said.get("pid"), said.get("host", platform.node()), said.get("since")
    if not (isinstance(pid, int) and isinstance(host, str) and isinstance(since, str) and 0 < pid < 2**31):
        return ANOTHER
    if host != platform.node():
        return f"process {pid} on {host[:64]} (since {since[11:16]})"
    return f"process {pid} (since {since[11:16]})" if _is_alive(pid) else ANOTHER


def _is_alive(pid: int) -> bool:
    """Whether there is such a process: a name that was left behind is not the holder's."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True
