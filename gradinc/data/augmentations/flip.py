"""Mirrored images."""

from __future__ import annotations

import torch
from torch import Tensor


def flip(x: Tensor, generator: torch.Generator, fill: Tensor | float = 0.0) -> Tensor:
    """Mirror each image left to right with probability 1/2"""
    mirrored = torch.rand(len(x), generator=generator, device=generator.device) < 0.5
    return torch.where(mirrored.to(x.device)[:, None, None, None], x.flip(-1), x)
