"""Additions to PyTorch's optimizers: a cheaper call, an exact restart, and several as one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer


class NAdam(torch.optim.NAdam):
    """PyTorch's NAdam with an exact restart of its running product of momenta.

    PyTorch stores this number in float32 on the CPU, but loads it in the weights' dtype and onto
    their device: after a restart a float64 run would round differently, and a run on a GPU would wait for it.
    """

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        numbers = [number for group in state_dict["param_groups"] for number in group["params"]]
        leaves = [leaf for group in self.param_groups for leaf in group["params"]]
        for number, leaf in zip(numbers, leaves, strict=True):
            if number in state_dict["state"]:
                product = state_dict["state"][number]["mu_product"]
                self.state[leaf]["mu_product"] = product.detach().to("cpu", copy=True)


class Joint(Optimizer):
    """Several optimizers, each with its own weights, as one.

    Its parameter groups and its state are those of all parts, so that a schedule, a checkpoint and
    a method that clears momentum see a single optimizer.

    Args:
        parts: optimizers that have no weight in common.
    """

    def __init__(self, parts: list[Optimizer]) -> None:
        self._parts = parts
        super().__init__([group for part in parts for group in part.param_groups], {})
        for part in parts:
            self.state.update(part.state)
        self._share()
        self._steps = [stepper(part) for part in parts]

    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Step each of the parts."""
        for step in self._steps:
            step()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()

    def _share(self) -> None:
        groups = iter(self.param_groups)
        for part in self._parts:
            part.param_groups = [next(groups) for _ in part.param_groups]
            part.state = self.state


def stepper(optimizer: Optimizer) -> Callable[[], None]:
    """Return a function equivalent to ``optimizer.step()`` without its profiling wrapper.

    The wrapper costs 25 µs a step, as much as a step of a small model. Step hooks are not called.
    """
    step = inspect.unwrap(type(optimizer).step)

    @torch.no_grad()
    def run() -> None:
        step(optimizer)

    return run
