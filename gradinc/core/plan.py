"""How the micro-batches of an epoch fall into windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Last = Literal["flush", "carry", "drop"]


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a window that lies in one epoch.

    Attributes:
        first: number of its first micro-batch in the epoch, from 0.
        count: how many micro-batches it has.
        closes: whether an update follows its last one; else the window goes on in the next epoch.
    """

    first: int
    count: int
    closes: bool


def extent(first: int, length: int, size: int, last: Last) -> int:
    """Micro-batches of the window that opens before micro-batch `first` of an epoch of `length`.

    Returns:
        `size`; or, where the epoch is too short for that, what is left of it for ``flush``, and 0 for
        ``drop``. A window that is carried over the epoch's end has its full size.
    """
    if first + size <= length or last == "carry":
        return size
    return length - first if last == "flush" else 0


def plan(length: int, size: int, start: int = 0, last: Last = "flush") -> list[Span]:
    """How the micro-batches of an epoch fall into windows.

    Args:
        length: micro-batches in the epoch.
        size: micro-batches in a full window.
        start: micro-batches that an open window brought along from the epoch before; under ``size``.
        last: what becomes of a short last window: ``flush`` makes an update with what there is,
            ``carry`` lets the next epoch fill it, ``drop`` leaves its micro-batches out.

    Returns:
        Spans in order. They cover the epoch from 0 on without gaps, all of it but for ``drop``.
    """
    if not (length >= 0 and size >= 1 and 0 <= start < size):
        raise ValueError(f"plan({length=}, {size=}, {start=}): need length ≥ 0, size ≥ 1, 0 ≤ start < size")
    spans = []
    first, left = 0, size - start if start else 0  # what the open window still needs
    while first < length:
        left = left or extent(first, length, size, last)
        if left == 0:
            break
        count = min(left, length - first)
        # A window that came along and stays short is treated as one that opened here.
        closes = count == left or last == "flush"
        if closes or last == "carry":
            spans.append(Span(first, count, closes))
        first, left = first + count, 0
    return spans
