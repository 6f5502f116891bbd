"""The processes that train one run together, started by torchrun: one sum of the gradient for each window."""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable, Sequence

import torch
import torch.distributed as distributed
from torch import Tensor


class World:
    """The processes of one run.

    Each process takes its share of a window's micro-batches; their gradients are summed once, before `reduce`, so that
    W processes with windows of K make the updates of one process with windows of W·K. The first process writes.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
        alone: whether there is only one process.
        leads: whether this process writes and reports for all.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size
        self.alone, self.leads = size == 1, rank == 0

    def sum_(self, vector: Tensor) -> None:
        """Replace a tensor by its sum over all processes, in place."""
        if not self.alone:
            distributed.all_reduce(vector)

    def copy_(self, tensors: Iterable[Tensor]) -> None:
        """Copy the first process's values to all processes, in place."""
        if not self.alone:
            for tensor in tensors:
                distributed.broadcast(tensor, src=0)

    def first(self, number: int) -> int:
        """Return the first process's number."""
        told = torch.tensor([number])
        if not self.alone:
            distributed.broadcast(told, src=0)
        return int(told)

    def largest(self, number: int) -> int:
        """Return the largest of the processes' numbers."""
        if self.alone:
            return number
        told = torch.tensor([number])
        distributed.all_reduce(told, distributed.ReduceOp.MAX)
        return int(told)

    def total(self, numbers: Sequence[int]) -> list[int]:
        """Return the sums of the processes' numbers, one by one."""
        if self.alone:
            return list(numbers)
        told = torch.tensor(numbers)
        distributed.all_reduce(told)
        return [int(each) for each in told]

    def has_lost(self, error: Exception) -> bool:
        """Return whether an error means that another process does not answer any more."""
        text = str(error).lower()
        known = ("gloo", "nccl", "connection closed by peer", "connection reset", "broken pipe")
        return isinstance(error, RuntimeError) and any(word in text for word in known)


def processes() -> tuple[int, int]:
    """Return the number of this process and the number of processes, from torchrun's environment variables."""
    names = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    if not all(name in os.environ for name in names):
        return 0, 1
    return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])


def join(device: torch.device) -> None:
    """Connect to the other processes, if any."""
    if processes()[1] > 1 and not distributed.is_initialized():
        # gloo sums numbers of the host, the device's own backend sums the gradient.
        distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
        atexit.register(_leave)


def _leave() -> None:
    """Close the connections before Python's own end, which could abort the process while their threads still run."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


def own_device(name: str) -> str:
    """Return the device of this process, if several share a machine."""
    _, size = processes()
    if size > 1 and name in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    return name
