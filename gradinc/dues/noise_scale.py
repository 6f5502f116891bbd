r"""B = tr(Σ) / ‖G‖².

$$ \sum_k n_k \ge B = \frac{\mathrm{tr}\, \Sigma}{\lVert G\rVert^2} $$
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated

from annotated_types import Ge
from torch import Tensor

from gradinc.config.values import Count, Decay, Positive
from gradinc.core.due import Due
from gradinc.core.noise_scale import trace_and_signal


class NoiseScale(Due):
    """Windows of as many rows as the gradient's noise scale

    Paper: McCandlish et al. 2018, arXiv 1812.06162
    Title: An Empirical Model of Large-Batch Training
    Authors: Sam McCandlish, Jared Kaplan, Dario Amodei, OpenAI Dota Team

    Below this size, doubling the rows halves the number of updates; above it, more rows save no updates. The first
    window has strategy.window.size micro-batches, or `smallest`.

    Args:
        smallest: fewest micro-batches of a window; two, since one shows no variance.
        largest: most micro-batches of a window.
        decay: decay of the running means of numerator and denominator.
        factor: rows of a window per noise scale.
    """

    state = ("trace", "signal", "present")
    observes = True

    def __init__(
        self,
        *,
        smallest: Annotated[int, Ge(2)] = 2,
        largest: Count = 64,
        decay: Decay = 0.9,
        factor: Positive = 1.0,
    ) -> None:
        self.smallest, self.largest, self.decay, self.factor = smallest, max(smallest, largest), decay, factor
        self.trace = self.signal = 0.0
        self.present = 0.0  # the noise scale in rows, once it is known

    def size(self, update: int, window_size: int, batch_size: int) -> int:
        wanted = self.factor * self.present / batch_size if self.present else window_size
        return int(max(self.smallest, min(self.largest, math.ceil(wanted) if math.isfinite(wanted) else self.largest)))

    def most(self, window_size: int, batch_size: int) -> int:
        return self.largest

    def observe(self, squares: Sequence[tuple[Tensor, float]], square: Tensor) -> None:
        if len(squares) < 2:
            return
        trace, signal = (float(value) for value in trace_and_signal(squares, square))
        self.trace += (1 - self.decay) * (trace - self.trace)  # both start at 0: the bias cancels in the ratio
        self.signal += (1 - self.decay) * (signal - self.signal)
        if self.trace > 0:
            self.present = self.trace / self.signal if self.signal > 0 else math.inf
