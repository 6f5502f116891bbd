"""The device, precision and threads of a run, all fixed before the first number."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import sys
from typing import Any

import torch
from torch import nn

from gradinc.base.cores import usable_cores
from gradinc.base.errors import UserError
from gradinc.records.environment import cpu, processor, variables

FLOPS_PER_THREAD = 1e8
"""Floating-point operations in a forward pass for each thread: with fewer, another thread does not help."""


def choose_device(name: str) -> torch.device:
    """Return the device for ``device=auto|cpu|cuda|cuda:N``.

    Raises:
        UserError: this machine does not have the device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UserError(f"device={name}", "no CUDA device in this torch", "Use device=cpu")
        if (device.index or 0) >= torch.cuda.device_count():
            raise UserError(
                f"device={name}", f"only {torch.cuda.device_count()} CUDA devices here", "Use device=cuda:0"
            )
    return device


def storage_dtype(name: str) -> torch.dtype:
    """Return the dtype of weights and data; bfloat16 is for forward passes only."""
    return torch.float64 if name == "float64" else torch.float32


def autocast_dtype(name: str) -> torch.dtype | None:
    """Return the lower precision of forward passes, or None."""
    return torch.bfloat16 if name == "bfloat16" else None


def flush_denormals() -> bool:
    """Make the processor treat numbers below about 1e-38 (float32) as 0, and return whether it supports this.

    Operations on such denormal numbers are up to a hundred times slower, and gradients of confident networks contain
    many. Threads inherit the setting from the thread that starts them: call this before the first parallel operation.
    """
    return torch.set_flush_denormal(True)


def keep_freed_memory() -> None:
    """Let the C library reuse the memory that a step frees in the next step, if it is the GNU library.

    By default it returns large blocks to the system, which maps and clears them again in the next step. This takes
    some per cent of the time of a convolutional network. The peak memory is the same.
    """
    trim_threshold, mmap_threshold = -1, -3  # names of the GNU library's malloc.h
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(trim_threshold, 2**31 - 1)
        mallopt(mmap_threshold, 2**25)


def pin(threads: int, device: torch.device) -> None:
    """Fix everything that could change the last bits of a run on one machine, and let memory be reused."""
    flush_denormals()
    keep_freed_memory()
    torch.set_num_threads(threads)
    # The same as use_deterministic_algorithms(True, warn_only=True) except for PyTorch's compiler. The function would
    # import the compiler to set one of its options, which takes longer than a short run; nothing here is compiled.
    torch.set_deterministic_debug_mode("warn")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # costs a pass over every new tensor


def choose_threads(setting: int | str, model: nn.Module, shape: tuple[int, ...], rows: int) -> int:
    """Return the number of threads for ``threads=auto|N``.

    ``auto`` is one thread for every 10⁸ operations in a forward pass of one micro-batch, at most the number of
    cores that this process may use. Small models are slower with two threads than with one, and several
    times slower on a busy machine.

    Args:
        setting: ``auto`` or a number.
        model: the model, on any device.
        shape: shape of one input.
        rows: rows of a micro-batch.
    """
    if isinstance(setting, int):
        return setting
    return max(1, min(usable_cores(), int(forward_flops(model, shape) * rows / FLOPS_PER_THREAD)))


def forward_flops(model: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the multiplications and additions in a forward pass of one row through linear and convolutional layers."""
    total = 0

    def count(module: nn.Module, _: Any, out: Any) -> None:
        nonlocal total
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd) and isinstance(out, torch.Tensor):
            fan_in = module.weight[0].numel()
            total += 2 * fan_in * out.numel()

    hooks = [module.register_forward_hook(count) for module in model.modules()]
    training = model.training
    first = next(model.parameters())
    try:
        model.eval()
        with torch.no_grad():
            model(torch.zeros((1, *shape), dtype=first.dtype, device=first.device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return total


def peak_memory(device: torch.device) -> int:
    """Return the peak memory of this process, or of the device, in bytes."""
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


OUT_OF_MEMORY = (
    "not enough memory",
    "can't allocate memory",
    "out of memory",
    "size calculation overflowed",
    "alloc_failed",  # cuBLAS and cuDNN
    "allocation_failed",
    "unexpected pos",  # torch.save into memory
)
"""Lower-case texts of a RuntimeError for a lack of memory."""


def is_out_of_memory(error: Exception) -> bool:
    """Return whether Python, torch, its allocator or a library was out of memory; the last two only give a message."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in OUT_OF_MEMORY)


def environment(device: torch.device, threads: int) -> dict[str, Any]:
    """Return the facts besides the config that last bits depend on, by their names in `gradinc.records.environment`."""
    on_gpu = device.type == "cuda"
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "processor": processor(),
        "cpu": cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "denormals": "computed" if float(torch.tensor(2e-38) * 0.1) else "flushed",
        "variables": variables(on_gpu=on_gpu),
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "threads": threads,
    }
