"""Numbers for the next log line, summed on the device until then."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gradinc.core.noise_scale import ratios
from gradinc.core.world import World


class Notes:
    """The sums of the losses and of the methods' notes since the last log line."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._items = 0.0
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def loss(self, objective: Tensor, items: float) -> None:
        """Add the summed objective of a micro-batch, a scalar, and its items."""
        self._loss += objective.detach()
        self._items += items

    def add(self, name: str, value: Tensor) -> None:
        """Add a number to the mean that the next log line reports."""
        value = value.detach().double()
        if name in self._sums:
            self._sums[name] += value
            self._counts[name] += 1
        else:
            self._sums[name] = value.clone()
            self._counts[name] = 1

    def drain(self, world: World) -> dict[str, Any]:
        """Return the mean loss and the means of the notes since the last call."""
        if not world.alone:
            sums = torch.stack((self._loss, self._loss.new_tensor(self._items)))
            world.sum_(sums)
            self._loss.copy_(sums[0])
            self._items = float(sums[1])
        values: dict[str, Any] = {"loss": float(self._loss) / self._items if self._items else None}
        if self._sums:
            values["notes"] = ratios({name: float(value) / self._counts[name] for name, value in self._sums.items()})
        self._loss.zero_()
        self._items = 0.0
        self._sums.clear()
        self._counts.clear()
        return values

    def state_dict(self) -> list[Any]:
        """Return the state that a restart needs."""
        return [self._loss.clone(), self._items, dict(self._sums), dict(self._counts)]

    def load_state_dict(self, state: list[Any]) -> None:
        """Resume from the result of `state_dict`."""
        loss, items, sums, counts = state
        self._loss.copy_(loss)
        self._items = items + 0.0
        self._sums = {name: sums[name].reshape(()) for name in counts}
        self._counts = {name: int(count) for name, count in counts.items()}
