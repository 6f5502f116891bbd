"""Available memory, and whether a data set fits into it."""

from __future__ import annotations

import os
from pathlib import Path

import torch

_SHARE = 4
"""Largest share of the available memory for a data set, as a divisor."""


def fits(size: int, device: torch.device) -> bool:
    """Return whether `size` bytes of rows fit into memory, on the device and, while they are read, on the host."""
    available = available_memory()
    if device.type == "cuda":
        available = min(available, torch.cuda.mem_get_info(device)[0])
    return size * _SHARE <= available


def available_memory() -> int:
    """Return the bytes that this process may still allocate, by the limits of the machine and of its container."""
    return min([_machine(), *_container()])


def _machine() -> int:
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _container() -> list[int]:
    group = Path("/sys/fs/cgroup")
    try:
        limit, used = (group / "memory.max").read_text().strip(), (group / "memory.current").read_text()
        return [] if limit == "max" else [max(0, int(limit) - int(used))]
    except (OSError, ValueError):
        return []
