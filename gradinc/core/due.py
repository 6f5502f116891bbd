"""What decides when an update is due: how many micro-batches the next window has."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor


class Due(ABC):
    """How many micro-batches the next window has. Subclass it in ``gradinc/dues/<name>.py``.

    The answer is given where the window opens, so that its rows are known beforehand.

    Attributes:
        state: names of the attributes that must survive a restart, as for a `Method`.
        observes: whether `observe` wants the norms of the micro-batches' gradients.
        steady: whether every window has the same size, which schedules may then count on.
    """

    state: ClassVar[tuple[str, ...]] = ()
    observes: ClassVar[bool] = False
    steady: ClassVar[bool] = False

    @abstractmethod
    def size(self, update: int, window_size: int, batch_size: int) -> int:
        """Micro-batches of the window that is about to open.

        Args:
            update: updates made so far.
            window_size: ``strategy.window.size``.
            batch_size: ``data.batch_size``.
        """

    def most(self, window_size: int, batch_size: int) -> int:
        """Most micro-batches that a window may ever have; the first one's where all have as many."""
        return self.size(0, window_size, batch_size)

    def observe(self, squares: Sequence[tuple[Tensor, float]], square: Tensor) -> None:  # noqa: B027  (optional)
        """Learn from a window that is full, also where its rule will make no update of it.

        Args:
            squares: ‖ḡₖ‖² of each micro-batch's mean gradient, and its rows. Rows are rows of the stream, as in
                `size`: where rows are replayed, each stands for its share of all that the gradient is of.
            square: ‖ḡ‖² of the mean gradient over all rows, whatever the window's rule makes of them.
        """
