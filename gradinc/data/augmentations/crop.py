"""Images at a random position."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

PADDING = 4
"""Pixels added on each side before the crop, as is usual for CIFAR."""


def crop(x: Tensor, generator: torch.Generator, fill: Tensor | float = 0.0) -> Tensor:
    """Pad each image by 4 pixels and cut out the old size at a random place"""
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
