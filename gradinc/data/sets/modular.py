"""Arithmetic modulo a prime: networks can generalise on this task long after they have memorised it."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le

from gradinc.base.errors import UserError
from gradinc.data.source import Source

Modulus = Annotated[int, Ge(2), Le(1000)]

OPERATIONS = {"multiply": np.multiply, "add": np.add, "subtract": np.subtract}


def modular(
    root: str | None, *, modulus: Modulus = 97, operation: Literal["multiply", "add", "subtract"] = "multiply"
) -> Source:
    """Products modulo 97, as tokens: x, operation, y, equals sign

    Paper: Power et al. 2022, arXiv 2201.02177
    Title: Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets
    Authors: Alethea Power, Yuri Burda, Harri Edwards, Igor Babuschkin, Vedant Misra

    All pairs with x from 0 and y from 1. A row has four whole numbers: x and y are their own tokens, the equals
    sign is the token ``modulus`` and the operation the next one. There is no official test part.

    Args:
        modulus: modulus of the results, a prime in all publications.
        operation: operation on x and y.
    """
    if root is not None:
        raise UserError(f"data.root={root}", "modular is computed, not read from a file", "Leave it out")
    x, y = (each.ravel() for each in np.meshgrid(np.arange(modulus), np.arange(1, modulus), indexing="ij"))
    rows = np.stack((x, np.full_like(x, modulus + 1), y, np.full_like(x, modulus)), axis=1)
    result = OPERATIONS[operation](x, y) % modulus
    return Source(rows.astype(np.float32), result, tuple(map(str, range(modulus))), None, 1.0, "a formula")
