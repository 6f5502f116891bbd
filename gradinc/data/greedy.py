"""The greedy memory of GDumb, with balanced classes."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def balanced(labels: Sequence[int], capacity: int, random: torch.Generator) -> list[int]:
    """Return the rows of a stream in a greedy, class-balanced memory at the stream's end.

    A row is stored while its class has less than its share of the memory. In a full memory it replaces
    a random row of the largest class.

    Paper: Prabhu et al. 2020, GDumb (ECCV), algorithm 1

    Args:
        labels: labels of the rows, in the order of the stream.
        capacity: rows that the memory stores.
        random: draws the rows that are replaced.

    Returns:
        Positions in `labels`, in no order.
    """
    held: dict[int, list[int]] = {}
    count = 0
    for place, label in enumerate(labels):
        own = held.setdefault(label, [])
        if len(own) >= capacity / len(held):
            continue
        if count >= capacity:
            largest = max(held.values(), key=len)
            index = int(torch.randint(len(largest), (), generator=random))
            largest[index] = largest[-1]
            largest.pop()
            count -= 1
        own.append(place)
        count += 1
    return [place for own in held.values() for place in own]
