r"""Var(g) ≤ η² ‖g‖².

$$ \mathrm{Var}(g) \le \eta^2\, \lVert g\rVert^2 $$
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from gradinc.config.values import Count, Positive
from gradinc.core.due import Due
from gradinc.core.noise_scale import trace_and_signal


class NormTest(Due):
    """Windows that grow when their gradient varies too much for its norm

    Paper: Lau et al. 2024, arXiv 2402.11215
    Title: AdAdaGrad: Adaptive Batch Size Schemes for Adaptive Gradient Methods
    Authors: Tim Tsz-Kit Lau, Han Liu, Mladen Kolar

    The test is tr(Σ)/N ≤ η² ‖g‖² for a window of N rows with the mean gradient g. If it fails, the next windows
    have the number of rows that would have passed. They never shrink.

    Args:
        eta: η, largest error of a gradient as a share of its norm.
        smallest: fewest micro-batches of a window; two, since one shows no variance.
        largest: most micro-batches of a window.
    """

    state = ("rows",)
    observes = True

    def __init__(self, *, eta: Positive = 0.5, smallest: Annotated[int, Ge(2)] = 2, largest: Count = 64) -> None:
        self.eta, self.smallest, self.largest = eta, smallest, max(smallest, largest)
        self.rows = 0.0

    def size(self, update: int, window_size: int, batch_size: int) -> int:
        wanted = max(window_size, math.ceil(self.rows / batch_size) if math.isfinite(self.rows) else self.largest)
        return max(self.smallest, min(self.largest, wanted))

    def most(self, window_size: int, batch_size: int) -> int:
        return self.largest

    def observe(self, squares: Sequence[tuple[Tensor, float]], square: Tensor) -> None:
        if len(squares) < 2:
            return
        trace = float(trace_and_signal(squares, square)[0])
        allowed = self.eta**2 * float(square)
        if trace > sum(items for _, items in squares) * allowed:
            self.rows = max(self.rows, trace / allowed if allowed > 0 else math.inf)
