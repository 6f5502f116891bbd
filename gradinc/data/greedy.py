"""The greedy memory of GDumb, which keeps its classes in balance."""

from __future__ import annotations

from collections.abc import Sequence

import torch


def balanced(labels: Sequence[int], capacity: int, random: torch.Generator) -> list[int]:
    """Which rows of a stream a greedy, class-balanced memory holds at its end.

    A row is taken while its class has less than its share of the memory. In a full memory it takes the place
    of a random row of the largest class.

    Paper: Prabhu et al. 2020, GDumb (ECCV), algorithm 1

    Args:
        labels: of the rows, in the order in which they come.
        capacity: rows that the memory holds.
        random: draws the rows that make room.

    Returns:
        Places in `labels`, in no order.
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
