"""Every K micro-batches.

$$ k = K $$
"""

from __future__ import annotations

from gradinc.core.due import Due


class Size(Due):
    """An update every strategy.window.size micro-batches"""

    steady = True

    def size(self, update: int, window_size: int, batch_size: int) -> int:
        return window_size
