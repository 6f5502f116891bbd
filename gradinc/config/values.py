"""The types of options, for the signatures of parts.

A part (a model, method, optimizer, data set …) writes these in its signature, which is
the schema. Nothing here imports torch, so that listings and validation stay fast.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le, Lt

Count = Annotated[int, Ge(1)]
"""A whole number, 1 or more."""

Whole = Annotated[int, Ge(0)]
"""A whole number, 0 or more."""

Positive = Annotated[float, Gt(0)]
"""A number above 0; ``inf`` is one."""

NonNegative = Annotated[float, Ge(0)]
"""A number, 0 or more; ``inf`` is one."""

Finite = Annotated[float, Gt(-math.inf), Lt(math.inf)]
"""Any number but ``inf`` and ``-inf``."""

Strength = Annotated[float, Ge(0), "strength"]
"""The weight of a method's own term beside the loss, 0 or more: with too large a weight training diverges."""

Fraction = Annotated[float, Ge(0), Le(1)]
"""A number from 0 to 1, both included."""

Decay = Annotated[float, Ge(0), Lt(1)]
"""A number from 0 up to, but not including, 1."""

Activation = Literal["relu", "leaky_relu", "gelu", "silu", "elu", "selu", "softplus", "tanh", "sigmoid", "identity"]
"""The name of an activation function."""

WideActivation = Activation | Literal["crelu"]
"""The name of an activation function; ``crelu`` gives the next layer twice as many inputs."""

Init = Literal["default", "xavier", "xavier_plain", "kaiming", "orthogonal", "truncated_normal"] | Positive
"""The distribution of initial weights: ``default`` is PyTorch's own for each layer, a number the standard
deviation of a normal distribution that is cut off at two standard deviations."""

Norm = Literal["none", "batch", "layer", "group"]
"""The normalisation after a convolution or a fully connected layer."""

Kept = Literal["reservoir", "ring", "balanced"]
"""The rows that a memory stores: each with the same probability, the latest of each class, or balanced classes."""

Drawn = Literal["random", "balanced"]
"""The rows of a task that a memory stores when the task ends: any, or the same number of each class."""

Among = Literal["all", "past"]
"""The rows of a memory that are drawn from: all, or those of past tasks."""

Against = Literal["now", "best"]
"""The loss of a stored row that a later one is compared with: the present one, or the smallest so far."""

ReplayLoss = Literal["pooled", "sum"]
"""The loss of a micro-batch and the rows replayed with it: the mean over all, or the mean of each, added."""

Jobs = Annotated[int, Ge(-1024), Le(1024)]
"""A number of parallel jobs; negative numbers count back from the number of processors, -1 for all."""

DEVICE = r"auto|cpu|cuda(:[0-9]{1,3})?"
"""The names of devices, as a regular expression for the whole name."""

Threads = Annotated[int, Ge(1), Le(4096)]
"""Threads of one process, at most as many as the largest machines have."""
