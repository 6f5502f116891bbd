r"""Windows that grow, or shrink, at given updates.

$$ k = K_s \quad \text{in stage } s $$
"""

from __future__ import annotations

from bisect import bisect_right

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Whole
from gradinc.core.due import Due


class Stages(Due):
    """A schedule of window sizes over the updates

    Paper: Smith et al. 2018, arXiv 1711.00489
    Title: Don't Decay the Learning Rate, Increase the Batch Size
    Authors: Samuel L. Smith, Pieter-Jan Kindermans, Chris Ying, Quoc V. Le

    Args:
        begin: updates at which a stage begins, increasing; before the first one strategy.window.size applies.
        sizes: micro-batches of a window in each stage.
    """

    def __init__(self, *, begin: list[Whole] | None = None, sizes: list[Count] | None = None) -> None:
        begin, sizes = begin or [], sizes or []
        if len(begin) != len(sizes) or sorted(set(begin)) != begin:
            what = f"begin has {len(begin)} numbers and sizes {len(sizes)}"
            raise UserError(
                "strategy.window.stages", what, "Give one size for each update in begin, in increasing order"
            )
        self.begin, self.sizes = begin, sizes

    def size(self, update: int, window_size: int, batch_size: int) -> int:
        stage = bisect_right(self.begin, update)
        return self.sizes[stage - 1] if stage else window_size

    def most(self, window_size: int, batch_size: int) -> int:
        return max(self.size(update, window_size, batch_size) for update in (0, *self.begin))
