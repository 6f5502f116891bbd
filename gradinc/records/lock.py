"""The lock of a directory, independent of the state of the process that took it. Imports no torch.

A process number does not prove a lock: in a container every first process has number 1, and numbers are used again.
``owner.json`` names the owner for people. The system releases the lock when its process ends, and a file system
shared by several machines applies it to all of them.
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
"""Seconds to wait for a lock: a check of the lock takes it for a moment."""

ANOTHER = "another process"


def is_held(path: Path, name: str = LOCK) -> bool:
    """Return whether a process, here or on another machine, has locked a directory. Changes nothing in it.

    Args:
        path: the directory.
        name: the file that is locked.
    """
    try:
        file = os.open(path / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:  # never locked, or not the directory of a run
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # several processes may check at once
    except BlockingIOError:
        return True
    except OSError:  # a file system without locks
        return False
    finally:
        os.close(file)
    return False


def owner() -> dict[str, Any]:
    """Return the description of this process for ``owner.json``."""
    return {"pid": os.getpid(), "host": platform.node(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}


def living_owner(path: Path) -> str | None:
    """Return the process that has locked a directory, as ``process 4711 (since 12:03)``, or None."""
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
    """Return whether the process exists; else its file was left behind."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's process
    return True
