"""New weights with the distribution of a layer's initial weights: drawn from these, with replacement.

This needs no knowledge of a model's initialisation, and it includes scales and constants that a model sets afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gradinc.core.weights import Weights


def drawn_from(initial: Tensor, shape: Sequence[int], random: torch.Generator) -> Tensor:
    """Return new weights of a shape.

    Args:
        initial: the initial weights of the layer, any shape.
        random: on their device.
    """
    values = initial.flatten()
    return values[torch.randint(len(values), tuple(shape), generator=random, device=values.device)]


def drawn_like(initial: Tensor, weights: Weights, random: torch.Generator) -> Tensor:
    """Return new weights for all layers, shape (P,), from the initial weights of the same parameter."""
    return torch.cat([drawn_from(initial[a:b], (b - a,), random) for a, b in weights.spans])
