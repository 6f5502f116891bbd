"""Augmentation of whole batches of images, with a separate draw for each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad

PADDING = 4
"""Pixels added on each side before the crop, as is usual for CIFAR."""


def augment(x: Tensor, names: Sequence[str], generator: torch.Generator, fill: Tensor | float = 0.0) -> Tensor:
    """Apply augmentations in the order of their names.

    Args:
        x: images, shape (rows, C, H, W); not changed.
        names: some of ``flip`` and ``crop``.
        generator: a generator for this batch, on any device.
        fill: value of crop's padding: one, or one for each channel (`Dataset.fill`).

    Returns:
        Images of the same shape.
    """
    for name in names:
        x = AUGMENTATIONS[name](x, generator, fill)
    return x


def flip(x: Tensor, generator: torch.Generator, fill: Tensor | float = 0.0) -> Tensor:
    """Mirror each image left to right with probability 1/2."""
    mirrored = torch.rand(len(x), generator=generator, device=generator.device) < 0.5
    return torch.where(mirrored.to(x.device)[:, None, None, None], x.flip(-1), x)


def crop(x: Tensor, generator: torch.Generator, fill: Tensor | float = 0.0) -> Tensor:
    """Pad each image by `PADDING` pixels and cut out an image of the old size at a random position."""
    rows, _, height, width = x.shape
    places = torch.randint(2 * PADDING + 1, (2, rows), generator=generator, device=generator.device)
    top, left = places.to(x.device)
    if isinstance(fill, Tensor):  # padding takes one value only
        size = (rows, x.shape[1], height + 2 * PADDING, width + 2 * PADDING)
        canvas = fill.to(x.device, x.dtype).view(-1, 1, 1).expand(size).clone()
        canvas[:, :, PADDING:-PADDING, PADDING:-PADDING] = x
    else:
        canvas = pad(x, (PADDING,) * 4, value=fill)
    windows = canvas.unfold(2, height, 1).unfold(3, width, 1)
    return windows[torch.arange(rows, device=x.device), :, top, left]


AUGMENTATIONS: dict[str, Callable[[Tensor, torch.Generator, Tensor | float], Tensor]] = {"flip": flip, "crop": crop}
"""The augmentations of ``data.augment``, by name."""
