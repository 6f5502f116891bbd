"""The base class of metrics: numbers that are reported beside the loss and the accuracy."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor


class Metric(ABC):
    """A number computed from sums over rows. Subclass it in ``gradinc/core/metrics/<name>.py``.

    Attributes:
        classes: whether it needs labels of classes.
    """

    classes: ClassVar[bool] = True

    @abstractmethod
    def sums(self, out: Tensor, y: Tensor) -> Tensor:
        """Return sums over some rows, a vector; the sums of all rows are added.

        Args:
            out: outputs of the model, shape (rows, outputs): logits that do not count in testing are -∞.
            y: labels, shape (rows,), or targets, shape (rows, targets).
        """

    def value(self, sums: list[float], rows: int) -> float:
        """Return the number, from the sums over all `rows` rows; by default the mean of the first sum."""
        return sums[0] / rows
