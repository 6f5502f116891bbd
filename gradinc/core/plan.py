"""The division of an epoch's micro-batches into windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Last = Literal["flush", "carry", "drop"]


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a window in one epoch.

    Attributes:
        first: number of its first micro-batch in the epoch, from 0.
        count: its number of micro-batches.
        closes: whether an update follows its last micro-batch; else the window continues in the next epoch.
    """

    first: int
    count: int
    closes: bool


def usable(rows: int, batch_size: int, last: Last) -> int:
    """Return the micro-batches of an epoch that windows are made of.

    ``drop`` leaves out a micro-batch with fewer rows than `batch_size`, and the window that it would complete. So a
    window of K micro-batches of b rows is left out exactly when PyTorch's ``drop_last=True`` leaves out a batch of K·b.
    """
    return rows // batch_size if last == "drop" else math.ceil(rows / batch_size)


def extent(first: int, length: int, size: int, last: Last) -> int:
    """Return the micro-batches of the window that opens before micro-batch `first` of an epoch of `length` (`usable`).

    Returns:
        `size`; or in a shorter epoch the micro-batches that are left for ``flush``, and 0 for ``drop``. A window that
        continues in the next epoch has its full size.
    """
    if first + size <= length or last == "carry":
        return size
    return length - first if last == "flush" else 0


def plan(length: int, size: int, start: int = 0, last: Last = "flush") -> list[Span]:
    """Divide the micro-batches of an epoch into windows.

    Args:
        length: micro-batches in the epoch (`usable`).
        size: micro-batches in a full window.
        start: micro-batches of an open window from the previous epoch; below ``size``.
        last: treatment of a short last window: ``flush`` makes an update from its micro-batches, ``carry`` lets the
            next epoch fill it, ``drop`` leaves them out.

    Returns:
        Spans in order. They cover the epoch from 0 without gaps; ``drop`` leaves out its end.
    """
    if not (length >= 0 and size >= 1 and 0 <= start < size):
        raise ValueError(f"plan({length=}, {size=}, {start=}): need length ≥ 0, size ≥ 1, 0 ≤ start < size")
    spans = []
    first, left = 0, size - start if start else 0  # micro-batches that the open window still needs
    while first < length:
        left = left or extent(first, length, size, last)
        if left == 0:
            break
        count = min(left, length - first)
        # A window from the previous epoch that stays short is treated as one that opened here.
        closes = count == left or last == "flush"
        if closes or last == "carry":
            spans.append(Span(first, count, closes))
        first, left = first + count, 0
    return spans
