"""The split into training, validation and test rows: seeded, explicit, stratified by class."""

from __future__ import annotations

import math

import numpy as np

from gradinc.base.errors import UserError
from gradinc.base.randomness import derive
from gradinc.data.source import DATA_PARTS, TEST, TRAIN, VALIDATION


def split_rows(
    y: np.ndarray, labelled: bool, official: np.ndarray | None, validation: float, test: float, seed: int
) -> np.ndarray:
    """Assign every row to a part.

    Official test and validation rows are not changed. Without official test rows, the fraction `test`
    of all other rows is drawn; without official validation rows, the fraction `validation` of the
    remaining training rows. The test rows do not depend on `validation`. Every class has its share of
    each drawn part, to the nearest row, and at least one training row.

    Args:
        y: labels, shape (n,), or targets, shape (n, targets).
        labelled: whether `y` holds labels.
        official: official parts, int8, shape (n,), or None.
        validation: fraction from 0 to 1; with 0 there are no validation rows.
        test: fraction from 0 to 1.
        seed: ``data.split_seed``.

    Returns:
        The part of each row, int8, shape (n,).

    Raises:
        UserError: there would be no training rows or no test rows.
    """
    part = np.full(len(y), TRAIN, np.int8) if official is None else official.astype(np.int8)
    groups = y if labelled else np.zeros(len(y), np.int64)
    for number, fraction in ((TEST, test), (VALIDATION, validation)):
        if not (part == number).any():
            candidates = np.flatnonzero(part == TRAIN)
            if len(candidates) and _rounded(fraction * len(candidates)) >= len(candidates):
                raise UserError(
                    f"data.{DATA_PARTS[number]}={fraction:g}",
                    f"takes all {len(candidates)} rows and leaves none to train on",
                    "Give a smaller fraction",
                )
            draw = derive(seed, "split", DATA_PARTS[number])
            part[candidates[stratified(groups[candidates], fraction, draw)]] = number
    if not (part == TRAIN).any():
        raise UserError("data", "there are no training rows", "Give a data set that has some")
    if not (part == TEST).any():
        fix = "Give a larger fraction, or a set with an official test part"
        raise UserError(f"data.test={test:g}", f"none of the {len(y)} rows would be for testing", fix)
    return part


def stratified(groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Draw a fraction of the rows, the same fraction of each group as far as whole rows allow.

    A group's share is rounded down, and the missing rows are taken from the groups with the largest
    remainders (ties in random order). At least one row of each group is not drawn.

    Args:
        groups: the group of each row, shape (n,).
        fraction: from 0 to 1.
        seed: seed of the draw.

    Returns:
        Positions of the rows drawn, sorted.
    """
    rank = _ranks(len(groups), seed)
    values, inverse, counts = np.unique(groups, return_inverse=True, return_counts=True)
    share = counts * fraction
    quota = np.minimum(np.floor(share + 1e-9).astype(np.int64), counts - 1)
    missing = _rounded(fraction * len(groups)) - int(quota.sum())
    by_remainder = np.lexsort((_ranks(len(values), seed + 1), -np.round(share - np.floor(share + 1e-9), 9)))
    for group in by_remainder:
        if missing > 0 and quota[group] < counts[group] - 1:
            quota[group] += 1
            missing -= 1
    order = np.lexsort((rank, inverse))  # group by group, in random order within each
    first = np.cumsum(counts) - counts
    position = np.arange(len(groups)) - first[inverse[order]]
    return np.sort(order[position < quota[inverse[order]]])


def _ranks(n: int, seed: int) -> np.ndarray:
    """Return a random rank for each of n items.

    Ranks are computed from the raw output of PCG64, which NumPy guarantees never to change. NumPy gives no such
    guarantee for its permutations.
    """
    ranks = np.empty(n, np.int64)
    ranks[np.argsort(np.random.PCG64(seed).random_raw(n), kind="stable")] = np.arange(n)
    return ranks


def _rounded(value: float) -> int:
    """Round to the nearest whole number, halves up: 0.1 of 5 rows is 1 row."""
    return math.floor(value + 0.5 + 1e-9)
