"""Order statistics of the rows of a matrix, column by column, by a network of minima and maxima.

Sorting short columns costs tens of times more than the few minima and maxima of whole rows that find the middle values.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from gradinc.core.linalg import COLUMNS


def mean_of_ranks(rows: Tensor, first: int, last: int, out: Tensor) -> None:
    """Write the mean over the ranks from `first` to `last` of each column. A column with a NaN becomes NaN.

    Args:
        rows: shape (K, P), overwritten.
        first: lowest rank that counts; the smallest entry has rank 0.
        last: highest rank that counts.
        out: the tensor to write the means to, shape (P,).
    """
    columns = COLUMNS if rows.device.type == "cpu" else rows.shape[1]
    spare = rows.new_empty(min(columns, rows.shape[1]))
    for block, target in zip(rows.split(columns, dim=1), out.split(columns), strict=True):
        wires = _sorted(list(block.unbind()), first, last, spare[: target.numel()])
        torch.div(wires[first], last - first + 1, out=target)
        for wire in wires[first + 1 : last + 1]:
            target.add_(wire, alpha=1 / (last - first + 1))


def _sorted(wires: list[Tensor], first: int, last: int, spare: Tensor) -> list[Tensor]:
    """Return the wires in an order in which the wires from `first` to `last` hold the entries of these ranks."""
    for low, high, smaller, larger in network(len(wires), first, last):
        a, b = wires[low], wires[high]
        if smaller and larger:
            torch.minimum(a, b, out=spare)
            torch.maximum(a, b, out=b)
            wires[low], spare = spare, a
        elif smaller:
            torch.minimum(a, b, out=a)
        else:
            torch.maximum(a, b, out=b)
    return wires


@cache
def network(size: int, first: int, last: int) -> tuple[tuple[int, int, bool, bool], ...]:
    """Return comparisons that bring the ranks from `first` to `last` onto the wires of these numbers, in any order.

    The network of a merge sort without the comparisons that do not matter for these ranks.

    Returns:
        For each comparison the two wires, and whether the smaller value is needed on the first and
        the larger one on the second.
    """
    unused, counted, compared = 0, 1, 2
    use = [counted if first <= rank <= last else unused for rank in range(size)]
    kept = []
    for low, high in reversed(_merge_sort(size)):
        if use[low] == use[high] != compared:
            continue  # their order does not matter
        kept.append((low, high, use[low] != unused, use[high] != unused))
        use[low] = use[high] = compared
    return tuple(reversed(kept))


def _merge_sort(size: int) -> list[tuple[int, int]]:
    """Return the comparisons of Batcher's odd-even merge sort; each puts the smaller value on its first wire."""
    pairs = []
    run = 1
    while run < size:
        step = run
        while step >= 1:
            for start in range(step % run, size - step, 2 * step):
                for low in range(start, min(start + step, size - step)):
                    if low // (2 * run) == (low + step) // (2 * run):
                        pairs.append((low, low + step))
            step //= 2
        run *= 2
    return pairs
