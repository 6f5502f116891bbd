"""Random bits, and a fixed random network of threshold units as the target."""

from __future__ import annotations

from functools import partial

import numpy as np

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Fraction, Whole
from gradinc.data.source import TEST, TRAIN, Source


def bit_flipping(
    root: str | None,
    *,
    bits: Count = 20,
    units: Count = 100,
    beta: Fraction = 0.7,
    rows: Count = 10000,
    test_rows: Count = 1000,
    seed: Whole = 0,
) -> Source:
    """10,000 rows of 20 random bits with a fixed target network: regression

    Paper: Dohare et al. 2024, arXiv 2306.13812
    Title: Maintaining Plasticity in Deep Continual Learning
    Authors: Shibhansh Dohare, J. Fernando Hernandez-Garcia, Parash Rahman, A. Rupam Mahmood, Richard S. Sutton

    The target network has one hidden layer of linear threshold units; all of its weights and offsets are drawn from -1
    and 1. A unit is 1 if its input is above beta · (bits + 1) − S with S = (bits − Σ weights + offset) / 2, as in the
    authors' program. With stream=slowly_changing some of the bits are constant in a task.

    Args:
        bits: inputs.
        units: hidden units of the target network.
        beta: share of the inputs that must agree with a unit's weights.
        rows: training rows, from which the validation rows are drawn.
        test_rows: test rows.
        seed: seed of the rows and of the network.
    """
    if root is not None:
        raise UserError(f"data.root={root}", "bit_flipping is generated, not read from a file", "Leave it out")
    random = np.random.default_rng(seed)
    hidden, offset, out = (random.choice((-1.0, 1.0), size=shape) for shape in ((bits, units), units, units + 1))
    threshold = beta * (bits + 1) - (bits - hidden.sum(0) + offset) / 2
    law = partial(_network, hidden, offset - threshold, out)
    x = random.integers(2, size=(rows + test_rows, bits)).astype(np.float32)
    part = np.where(np.arange(len(x)) < rows, TRAIN, TEST).astype(np.int8)
    return Source(x, law(x), None, part, 1.0, "a formula", law=law)


def _network(hidden: np.ndarray, offset: np.ndarray, out: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Return the network's output, float32, shape (rows, 1); the numbers are whole or halves, so it is exact."""
    active = x.astype(np.float64) @ hidden + offset > 0
    return (active @ out[:-1] + out[-1]).astype(np.float32)[:, None]
