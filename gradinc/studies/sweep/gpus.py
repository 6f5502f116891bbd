"""The GPUs of this machine, assigned to worker processes in turn."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from itertools import takewhile

VISIBLE = "CUDA_VISIBLE_DEVICES"

_PATIENCE = 10.0
"""Seconds to wait for the driver's list of GPUs."""

_LISTED = re.compile(r"^GPU \d+: .*\(UUID: (GPU-[0-9a-f-]+)\)", re.MULTILINE)


def gpus() -> list[str]:
    """Return the GPUs that this process may use, as in `VISIBLE`, or else from the driver."""
    chosen = os.environ.get(VISIBLE)
    if chosen is not None:
        names = (name.strip() for name in chosen.split(","))
        return list(takewhile(lambda name: name and not name.startswith("-"), names))  # CUDA also stops there
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        said = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=_PATIENCE, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return _LISTED.findall(said)


def dealt(workers: int, devices: Iterable[str]) -> list[dict[str, str]]:
    """Return additional environment variables for each worker, so that it sees one GPU.

    Args:
        workers: number of workers.
        devices: ``device=`` of their jobs. A job that names a GPU by its number must see all GPUs.
    """
    wanted = set(devices)
    found = [] if workers < 2 or wanted <= {"cpu"} or any(":" in name for name in wanted) else gpus()
    if len(found) < 2:
        return [{} for _ in range(workers)]
    return [{VISIBLE: found[number % len(found)]} for number in range(workers)]
