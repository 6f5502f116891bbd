"""The largest micro-batch that fits into memory, for the same window: ``strategy.window.micro_batch=auto``."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gradinc.config.schema import Config
from gradinc.core.criterion import Criterion
from gradinc.data.available_memory import available_memory
from gradinc.data.batch import Batch
from gradinc.data.rows import Rows
from gradinc.runs.device import autocast_dtype, is_out_of_memory

SHARE = 0.7
"""Share of the available memory that is used; kernels need an unknown part of the rest."""

VECTORS = 8
"""Additional vectors of the weights' length that training may need: gradients, optimizer state, methods' state."""

PROBES = 4, 16
"""Rows of the passes that measure the memory of a row."""


def fitted(config: Config, rows: int) -> Config:
    """Return the same training with micro-batches of `rows` rows, a divisor of the window's."""
    window = config.strategy.window
    size = config.data.batch_size * window.size // rows
    layers = {pattern: longer // window.size * size for pattern, longer in window.layers.items()}
    strategy = replace(config.strategy, window=replace(window, size=size, layers=layers))
    return replace(config, data=replace(config.data, batch_size=rows), strategy=strategy)


def recorded(meta: Mapping[str, Any] | None) -> int | None:
    """Return the micro-batch's rows that were found when the run was started, from its ``meta.json``."""
    rows = (meta or {}).get("micro_batch")
    return rows if isinstance(rows, int) and rows > 0 else None


def largest(config: Config, model: nn.Module, criterion: Criterion, rows: Rows, *, available: int | None = None) -> int:
    """Return the rows of the largest micro-batch that fits into memory and divides the window's rows.

    The memory of a row is computed from the tensors of two small forward passes: a backward pass begins with all of
    them, and has two more at a time. On a GPU the result is tested together with the other memory of training, and
    smaller sizes are tried if it fails: libraries use further memory, and free memory may be fragmented.

    Args:
        model: a temporary model, on its device.
        rows: training data, of which a few are read.
        available: bytes to use at most; the device's free memory when left out.
    """
    device = next(model.parameters()).device
    if available is None:
        available = free_memory(device)
    besides = VECTORS * sum(p.numel() * p.element_size() for p in model.parameters())
    probe = Probe(config, model.train(), criterion, rows)
    few, more = (min(count, len(rows)) for count in PROBES)
    if device.type == "cuda" and not probe.fits(more):
        more = few = 1  # the memory of a row is not known: use one row
    small, large = probe.bytes(few), probe.bytes(more)
    each = max(1.0, (large - small) / (more - few) if more > few else large / more)
    room = (SHARE * available - besides) / each
    total = config.data.batch_size * config.strategy.window.size
    # A micro-batch larger than the data contains all rows.
    fitting = [n for n in range(1, total + 1) if total % n == 0 and min(n, len(rows)) <= room] or [1]
    while device.type == "cuda" and len(fitting) > 1 and not probe.fits(fitting[-1], besides):
        fitting.pop()
    return fitting[-1]


def free_memory(device: torch.device) -> int:
    """Return the bytes of memory that are free for a run, including unused memory that PyTorch has reserved."""
    if device.type != "cuda":
        return available_memory()
    _let_go(device)
    return int(torch.cuda.mem_get_info(device)[0])


def _let_go(device: torch.device) -> None:
    """Release unused memory."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class Probe:
    """Measures the memory of passes through a model. Only the model changes: its gradients and running statistics."""

    def __init__(self, config: Config, model: nn.Module, criterion: Criterion, rows: Rows) -> None:
        self._model, self._criterion, self._rows = model, criterion, rows
        self._dtype = autocast_dtype(config.dtype)
        self._device = next(model.parameters()).device

    def bytes(self, count: int) -> int:
        """Return the bytes that a micro-batch of `count` rows needs at most, with its backward pass.

        One layer's weights are counted once more: some processors' convolutions copy them into another order.
        """
        with self._forked(), _Allocations() as made:
            self.loss(count)
        copied = max(p.numel() * p.element_size() for p in self._model.parameters())
        return sum(made.sizes.values()) + 2 * max(made.sizes.values(), default=0) + copied

    def fits(self, count: int, besides: int = 0) -> bool:
        """Return whether passes of `count` rows succeed with `besides` other bytes in use."""
        fitting, others = True, []
        try:
            others.append(torch.empty(besides, dtype=torch.uint8, device=self._device))
            with self._forked():
                torch.autograd.grad(self.loss(count), [p for p in self._model.parameters() if p.requires_grad])
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            fitting = False
        others.clear()
        _let_go(self._device)  # after the error, whose frames refer to all tensors of the pass
        return fitting

    def loss(self, count: int) -> Tensor:
        """Return the loss of a forward pass of `count` rows."""
        index = torch.arange(count) % len(self._rows)
        x, y = next(self._rows.batches(index, count))
        with torch.autocast(self._device.type, dtype=self._dtype, enabled=self._dtype is not None):
            out = self._model(x)
        return self._criterion.total(Batch(x, y, 0, count), out.float() if self._dtype is not None else out)

    @contextmanager
    def _forked(self) -> Iterator[None]:
        devices = [self._device.index or 0] if self._device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            yield


class _Allocations(TorchDispatchMode):
    """Records the memory of every new tensor.

    Attributes:
        sizes: bytes by the tensors' addresses while all of them exist.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self._kept: list[Tensor] = []  # else another tensor could get the same address

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                self.sizes[storage.data_ptr()] = storage.nbytes()
                self._kept.append(tensor)
        return out
