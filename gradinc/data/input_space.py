"""Distances and limits of images, in input units, for a model that sees normalised values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.data.dataset import Dataset

BallNorm = Literal["linf", "l2"]


@dataclass(frozen=True)
class InputSpace:
    """The allowed values of images.

    A model sees ``(input - mean) / std``. Input units, in which ε is given, are 0 to 1 for images;
    all tensors here are in the model's units and broadcast over a batch of images.

    Attributes:
        std: one step of the model's units, in input units; per channel, shape (C, 1, 1).
        low, high: the darkest and the brightest value that data can have, shape (C, 1, 1).
    """

    std: Tensor
    low: Tensor
    high: Tensor

    @classmethod
    def of(cls, dataset: Dataset) -> InputSpace:
        """Return the space of a data set's images.

        Images of the usual 256 values have the range 0 to 1. Images of other numbers outside this
        range have the range of the training rows.

        Raises:
            UserError: the rows are not images with classes.
        """
        if dataset.classes is None or len(dataset.shape) != 3:
            numbers = "regression targets" if dataset.classes is None else f"rows of shape {dataset.shape}"
            kind = numbers if dataset.text is None else "rows of text"
            raise UserError(f"data={dataset.name}", f"has {kind}, not images with classes", "Attack a run on images")
        images = (x for x, _ in dataset.train.chunks(4096))
        return cls.around(dataset.mean, dataset.std, images, dataset.train.y.device)

    @classmethod
    def around(
        cls, mean: Sequence[float], std: Sequence[float], images: Iterable[Tensor], device: torch.device
    ) -> InputSpace:
        """Return the space, as `of`, from the normalisation per channel and images in the model's units."""
        shift, factor = (torch.tensor(v, device=device, dtype=torch.float64).view(-1, 1, 1) for v in (mean, std))
        low, high = _extremes(images, shift, factor)
        return cls(*(value.float() for value in (factor, (low - shift) / factor, (high - shift) / factor)))

    def to(self, dtype: torch.dtype) -> InputSpace:
        """Return the same space for images of this dtype."""
        return InputSpace(self.std.to(dtype), self.low.to(dtype), self.high.to(dtype))

    @property
    def range(self) -> float:
        """Return the largest difference between two values of the data, in input units."""
        return float(((self.high - self.low) * self.std).max())

    def box(self, x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
        """Return the lowest and highest values within ε of images and within the data's range, shaped like `x`.

        The images themselves are always in between, to the last bit.
        """
        step = eps / self.std
        return torch.minimum(x, (x - step).clamp(min=self.low)), torch.maximum(x, (x + step).clamp(max=self.high))

    def project(self, x: Tensor, centre: Tensor, eps: float, norm: BallNorm) -> Tensor:
        """Return the point closest to `x` in the ball of radius ε around `centre` and in the data's range."""
        if norm == "l2":
            away = (x - centre) * self.std
            length = lengths(away).clamp(min=torch.finfo(x.dtype).tiny)
            x = centre + away * (eps / length).clamp(max=1) / self.std
            lowest, highest = self.box(centre, self.range)
        else:
            lowest, highest = self.box(centre, eps)
        return torch.minimum(torch.maximum(x, lowest), highest)

    def steepest(self, gradient: Tensor, length: float, norm: BallNorm) -> Tensor:
        """Return the step of a length in input units along which a linear function with this gradient rises most."""
        if norm == "linf":
            return length / self.std * gradient.sign()
        slope = gradient / self.std  # per input unit
        # Divided by its largest entry first: the square of a tiny gradient is 0.
        slope = slope / slope.abs().amax((1, 2, 3), keepdim=True).clamp(min=torch.finfo(slope.dtype).tiny)
        return length * slope / lengths(slope).clamp(min=torch.finfo(slope.dtype).tiny) / self.std

    def random(self, x: Tensor, eps: float, norm: BallNorm, random: torch.Generator) -> Tensor:
        """Return points drawn uniformly from the ball of radius ε around images, clipped to the data's range."""
        if norm == "linf":
            draw = torch.rand(x.shape, generator=random, device=x.device, dtype=x.dtype) * 2 - 1
        else:
            draw = torch.randn(x.shape, generator=random, device=x.device, dtype=x.dtype)
            share = torch.rand(len(x), 1, 1, 1, generator=random, device=x.device, dtype=x.dtype)
            draw = draw / lengths(draw) * share ** (1 / x[0].numel())
        return self.project(x + eps * draw / self.std, x, eps, norm)


def lengths(x: Tensor) -> Tensor:
    """Return the Euclidean length of each image, shape (rows, 1, 1, 1)."""
    return x.flatten(1).norm(dim=1).view(-1, 1, 1, 1)


def _extremes(images: Iterable[Tensor], mean: Tensor, std: Tensor) -> Sequence[Tensor]:
    low, high = torch.zeros_like(mean), torch.ones_like(mean)
    slack = 1e-5  # rounding of the normalised values
    for x in images:  # std is positive, so the largest value is also the largest normalised value
        ends = (x.amin((0, 2, 3)), x.amax((0, 2, 3)))
        darkest, brightest = (values.view(-1, 1, 1).double() * std + mean for values in ends)
        low, high = torch.minimum(low, darkest + slack), torch.maximum(high, brightest - slack)
    return torch.where(low < 0, low - slack, low), torch.where(high > 1, high + slack, high)
