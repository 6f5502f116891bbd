"""Additions to PyTorch's optimizers: a faster start and call, an exact restart, and several optimizers as one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

from gradinc.core.weights import Weights

_Kind = TypeVar("_Kind", bound=Optimizer)


def eager(kind: type[_Kind]) -> type[_Kind]:
    """Return an optimizer's class without the import of PyTorch's compiler.

    PyTorch hides these four methods from its compiler. The first call, in the constructor, therefore imports the
    compiler and SymPy, which takes longer than a short run. Nothing here is compiled.
    """
    hidden = ("add_param_group", "load_state_dict", "state_dict", "zero_grad")
    return type(kind.__name__, (kind,), {name: inspect.unwrap(getattr(kind, name)) for name in hidden})


class NAdam(eager(torch.optim.NAdam)):  # type: ignore[misc]
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


class Descent(eager(torch.optim.SGD)):  # type: ignore[misc]
    """PyTorch's SGD without momentum and decay, which does not need the gradient as one vector.

    Args:
        weights: all of them are in one slice.
    """

    def __init__(self, weights: Weights, slices: list[Any], lr: float) -> None:
        super().__init__(slices, lr=lr, foreach=False)
        self._weights = weights
        weights.defers = True

    def step(self, closure: None = None) -> None:
        """Subtract the gradient times the learning rate."""
        (group,) = self.param_groups
        if group["params"][0].grad is not None:
            self._weights.descend(group["lr"])


class Joint(eager(Optimizer)):  # type: ignore[misc]
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

    def step(self, closure: None = None) -> None:
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
    """Return a function equivalent to ``optimizer.step()`` without its wrappers, to be called in `torch.no_grad`.

    The wrappers cost 25 µs a step, as much as a step of a small model. Step hooks are not called.
    """
    return partial(inspect.unwrap(type(optimizer).step), optimizer)
