"""Raw rows of a data set, from a caller: checked, and converted to a model's inputs as in training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gradinc.base.errors import UserError
from gradinc.data.rows import Standardize
from gradinc.data.source import RowFiles, Source
from gradinc.data.text import Sequences


@dataclass(frozen=True)
class RawValues:
    """The values of a data set's rows before they are normalised.

    Attributes:
        dtype: ``uint8`` or ``float32``.
        scale: divisor of the values for input units.
        low, high: the smallest and the largest value that an image can have; None for rows that are not images.
        pad: black pixels that are added on every side.
    """

    dtype: str
    scale: float
    low: float | None
    high: float | None
    pad: int = 0

    @classmethod
    def of(cls, source: Source, padding: int = 0) -> RawValues:
        """Return the values of a data set, without its padding: images of whole numbers have values from 0 to `scale`,
        others the range of the set."""
        x = source.x
        assert not isinstance(x, Sequences)
        dtype = str(np.dtype(x.dtype))
        if dtype == "uint8":
            return cls(dtype, source.scale, 0.0, source.scale, padding)
        if isinstance(x, RowFiles) or len(source.shape) != 3 or not len(x):
            return cls(dtype, source.scale, None, None, padding)
        return cls(str(x.dtype), source.scale, float(x.min()), float(x.max()), padding)

    def record(self) -> dict[str, Any]:
        """Return the values as a plain record."""
        return asdict(self)

    @classmethod
    def recorded(cls, record: Mapping[str, Any]) -> RawValues:
        """Return the values from `record`."""
        return cls(**record)

    def inputs(self, raw: Any, shape: Sequence[int], standardize: Standardize) -> Tensor:
        """Return the model's inputs for raw rows.

        Args:
            raw: a tensor or an array, shape (rows, *shape) without the padding; images of one channel may be without
                their axis of channels.
            shape: the shape of a row in training.
            standardize: the normalisation of training.

        Raises:
            UserError: the rows have another shape, are not numbers, or are outside the range of the set.
        """
        x = raw.detach().cpu() if isinstance(raw, Tensor) else _tensor(raw)
        own = (shape[0], *(side - 2 * self.pad for side in shape[1:])) if self.pad else tuple(shape)
        if len(own) == 3 and own[0] == 1 and tuple(x.shape[1:]) == own[1:]:
            x = x[:, None]
        if tuple(x.shape[1:]) != own or x.ndim != len(own) + 1:
            raise UserError(f"rows of shape {tuple(x.shape)}", f"need (rows, {_listed(own)})", _turned(x, own))
        self._check_range(x)
        return standardize(pad(x, (self.pad,) * 4) if self.pad else x)

    def _check_range(self, x: Tensor) -> None:
        if x.dtype == torch.bool or x.is_complex():
            raise UserError(
                f"rows of {x.dtype}", "are not numbers", f"Give {self.dtype}, or the same numbers as floats"
            )
        if not x.numel():
            return
        low, high = float(x.min()), float(x.max())
        if not math.isfinite(low + high):
            raise UserError("rows", "hold NaN or Inf", "Give finite numbers")
        if self.low is None or self.high is None:
            return
        wanted = f"The set's raw values are from {self.low:g} to {self.high:g}"
        room = 1e-6 * (self.high - self.low)
        if low < self.low - room or high > self.high + room:
            raise UserError(f"values from {low:g} to {high:g}", "are not this set's raw images", wanted)
        if self.high > 1 and 0 < high <= 1 and bool((x != x.round()).any()):
            raise UserError(
                f"values from {low:g} to {high:g}", "look divided already", f"{wanted}; give them undivided"
            )


def _tensor(raw: Any) -> Tensor:
    array = np.asarray(raw)
    if array.dtype.kind not in "biufc":
        raise UserError(f"rows of {array.dtype}", "are not numbers", "Give a tensor or an array of numbers")
    return torch.from_numpy(np.ascontiguousarray(array))


def _listed(shape: Sequence[int]) -> str:
    return ", ".join(map(str, shape))


def _turned(x: Tensor, shape: Sequence[int]) -> str:
    if tuple(x.shape) == tuple(shape):
        return "Add an axis of rows: x[None]"
    if len(shape) == 3 and x.ndim == 4 and tuple(x.shape[1:]) == (*shape[1:], shape[0]):
        return "Move the channels first: axes (0, 3, 1, 2)"
    return "Give rows as the data set has them"
