"""Random numbers of a GPU's generators, drawn on the CPU, so that both devices compute with the same numbers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Self

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class CpuGenerator(torch.Generator):
    """A generator on the CPU that replaces another device's generator.

    Attributes:
        device: the other device.
    """

    def __new__(cls, device: torch.device | str = "cpu") -> Self:
        made = super().__new__(cls)
        made._device = torch.device(device)
        return made

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self._device: torch.device

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return self._device


class _Draws(TorchFunctionMode):
    """Calls functions that draw from a `CpuGenerator` on the CPU, and copies their result to its device."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        generator = kwargs.get("generator")
        if not isinstance(generator, CpuGenerator):
            return func(*args, **kwargs)
        if not any(isinstance(each, Tensor) for each in args):
            return func(*args, **{**kwargs, "device": "cpu"}).to(kwargs.get("device", generator.device))
        if func.__name__.endswith("_"):
            drawn = torch.empty_like(args[0], device="cpu")
            return args[0].copy_(func(drawn, *args[1:], **kwargs))
        drawn = func(*(each.cpu() if isinstance(each, Tensor) else each for each in args), **kwargs)
        return drawn.to(generator.device)


@contextmanager
def cpu_draws() -> Iterator[None]:
    """Make all generators that are created inside draw on the CPU."""
    own = torch.Generator
    torch.Generator = CpuGenerator  # type: ignore[misc, assignment]
    try:
        with _Draws():
            yield
    finally:
        torch.Generator = own  # type: ignore[misc]
