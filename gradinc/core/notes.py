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
        self._device = device
        self._loss: float | Tensor = 0.0
        self._items = 0.0
        self._online: Tensor | None = None
        self._rows = 0
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    def loss(self, objective: float | Tensor, items: float) -> None:
        """Add the summed objective of a micro-batch, a number or a scalar on the device, and its items."""
        self._loss += objective if isinstance(objective, float) else objective.detach().double()
        self._items += items

    def online(self, total: Tensor, rows: int) -> None:
        """Add the sum of a measure over rows that were predicted before they were trained on, a scalar."""
        self._online = total if self._online is None else self._online.add_(total)
        self._rows += rows

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
        """Return the mean loss and the means of the notes since the last call; and ``online``, a sum and its rows."""
        online = 0.0 if self._online is None else float(self._online)
        if not world.alone:
            sums = self._total.new_tensor([0.0, self._items, online, self._rows])
            sums[0] = self._total
            world.sum_(sums)
            self._loss, self._items, online, self._rows = sums.tolist()
        values: dict[str, Any] = {"loss": float(self._loss) / self._items if self._items else None}
        if self._sums:
            values["notes"] = ratios({name: float(value) / self._counts[name] for name, value in self._sums.items()})
        if self._rows:
            values["online"] = online, int(self._rows)
        self._loss = self._items = 0.0
        self._online, self._rows = None, 0
        self._sums.clear()
        self._counts.clear()
        return values

    def state_dict(self) -> list[Any]:
        """Return the state that a restart needs."""
        return [self._total, self._items, dict(self._sums), dict(self._counts), self._online, self._rows]

    def load_state_dict(self, state: list[Any]) -> None:
        """Resume from the result of `state_dict`."""
        loss, items, sums, counts, online, rows = state
        self._loss, self._items = float(loss), items + 0.0
        self._online, self._rows = None if online is None else online.reshape(()).clone(), int(rows)
        self._sums = {name: sums[name].reshape(()) for name in counts}
        self._counts = {name: int(count) for name, count in counts.items()}

    @property
    def _total(self) -> Tensor:
        return torch.as_tensor(self._loss, dtype=torch.float64, device=self._device)
