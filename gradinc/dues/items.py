r"""Windows of a minimum number of rows.

$$ \sum_k n_k \ge N $$
"""

from __future__ import annotations

import math

from gradinc.config.values import Count
from gradinc.core.due import Due


class Items(Due):
    """An update as soon as the window has a number of rows

    Args:
        rows: least rows of a window; it ends with the micro-batch that reaches them.
    """

    steady = True

    def __init__(self, *, rows: Count = 256) -> None:
        self.rows = rows

    def size(self, update: int, window_size: int, batch_size: int) -> int:
        return math.ceil(self.rows / batch_size)
