"""One linear layer."""

from __future__ import annotations

import math

from torch import nn

from gradinc.config.values import Init
from gradinc.models.layers import chain, initialise


def linear(shape: tuple[int, ...], outputs: int, *, bias: bool = True, init: Init = "default") -> nn.Module:
    """One linear layer: logistic or linear regression

    Args:
        bias: whether each output has an offset.
        init: the distribution of initial weights.
    """
    model = chain(flatten=nn.Flatten(), output=nn.Linear(math.prod(shape), outputs, bias=bias))
    initialise(model, init, "identity")
    return model
