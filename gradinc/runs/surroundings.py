"""The settings of PyTorch that belong to the program that calls a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_surroundings() -> Iterator[None]:
    """Run inside with PyTorch's defaults for the numbers of a run, and restore the caller's settings afterwards.

    A caller's default dtype or disabled gradients would change a run's numbers; the run in turn sets the number of
    threads, deterministic algorithms, the handling of denormal numbers and the state of the random generators.
    """
    threads, dtype, device = torch.get_num_threads(), torch.get_default_dtype(), torch.get_default_device()
    deterministic = torch.get_deterministic_debug_mode()
    cudnn = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    fill = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    flushed = not float(torch.tensor(2e-38, dtype=torch.float32) * 0.1)
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    torch.set_default_dtype(torch.float32)
    if device.type != "cpu":
        torch.set_default_device("cpu")
    try:
        with torch.random.fork_rng(devices=devices), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        if device.type != "cpu":
            torch.set_default_device(device)
        torch.set_deterministic_debug_mode(deterministic)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = cudnn
        torch.utils.deterministic.fill_uninitialized_memory = fill  # type: ignore[attr-defined]
        torch.set_flush_denormal(flushed)
