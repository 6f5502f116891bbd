"""The value at positions after a row's end, where rows of different lengths are in one tensor."""

from __future__ import annotations

import torch
from torch import Tensor

PAD = -100
"""The value of a position after the end of a row, in inputs and in targets. A token is 0 or more, so a model reads from
its input which positions count. As a target it is the index that PyTorch's cross-entropy ignores."""


def padded_together(*parts: Tensor) -> Tensor:
    """Return rows one after the other; if their lengths differ, all have the length of the longest.

    Args:
        parts: each of shape (rows, *shape); with different lengths, (rows, length, *rest).
    """
    if len({part.shape[1:] for part in parts}) == 1:
        return torch.cat(parts)
    longest = max(part.shape[1] for part in parts)
    whole = parts[0].new_full((sum(map(len, parts)), longest, *parts[0].shape[2:]), PAD)
    first = 0
    for part in parts:
        whole[first : first + len(part), : part.shape[1]] = part
        first += len(part)
    return whole
