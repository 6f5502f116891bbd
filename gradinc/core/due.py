"""Due rules: they decide after how many micro-batches an update is due."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor


class Due(ABC):
    """The number of micro-batches of the next window. Subclass it in ``gradinc/dues/<name>.py``.

    The number is chosen when the window opens, so that the window's rows are known in advance.

    Attributes:
        state: names of the attributes that must survive a restart, as for a `Method`.
        observes: whether `observe` needs the norms of the micro-batches' gradients.
        steady: whether every window has the same size, so that schedules may count on it.
    """

    state: ClassVar[tuple[str, ...]] = ()
    observes: ClassVar[bool] = False
    steady: ClassVar[bool] = False

    @abstractmethod
    def size(self, update: int, window_size: int, batch_size: int) -> int:
        """Return the number of micro-batches of the window that is about to open.

        Args:
            update: updates made so far.
            window_size: ``strategy.window.size``.
            batch_size: ``data.batch_size``.
        """

    def most(self, window_size: int, batch_size: int) -> int:
        """Return the largest number of micro-batches of any window; by default the first window's number."""
        return self.size(0, window_size, batch_size)

    def observe(self, squares: Sequence[tuple[Tensor, float]], square: Tensor) -> None:  # noqa: B027  (optional)
        """Learn from a full window, even if its rule will make no update from it.

        Args:
            squares: ‖ḡₖ‖² of each micro-batch's mean gradient, and its number of rows. Only rows of the stream are
                counted, as in `size`: each of these rows also represents its share of the replayed rows.
            square: ‖ḡ‖² of the mean gradient over all rows, whatever the window's rule computes from them.
        """
