"""What a stream's file says of each of its tasks, before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.base.randomness import generator
from gradinc.data.dataset import Dataset
from gradinc.data.rows import Change, Rows


@dataclass(frozen=True)
class Material:
    """What a stream is made of.

    Attributes:
        dataset: the run's data set.
        seed: what the stream's draws are derived from.
        load: another data set, by its name and root, prepared as the run's own.
    """

    dataset: Dataset
    seed: int
    load: Callable[[str, str | None], Dataset]

    def generator(self, *purpose: object) -> torch.Generator:
        """A fresh generator on the CPU for one purpose."""
        return generator(self.seed, "stream", *purpose)

    @property
    def classes(self) -> tuple[int, ...]:
        """The labels of the data set.

        Raises:
            UserError: it is a regression.
        """
        if self.dataset.classes is None:
            raise UserError(
                "stream", f"tasks are made of classes, and data={self.dataset.name} has none", "Use stream=iid"
            )
        return tuple(range(len(self.dataset.classes)))


@dataclass(frozen=True)
class Experience:
    """One task: which rows of a data set, and what is done to them.

    Attributes:
        dataset: where the rows come from.
        classes: labels that occur in it, in the order of its outputs where it has its own.
        train: numbers of its training rows, int64; None for all those of its classes.
        change: what is done to the inputs, training, validation and test alike; None leaves them.
    """

    dataset: Dataset
    classes: tuple[int, ...]
    train: Tensor | None = None
    change: Change | None = None

    def indices(self, part: str) -> Tensor | None:
        """The numbers of a part's rows, int64, on the CPU; None for all of the part.

        Args:
            part: ``train``, ``validation`` or ``test``.
        """
        if part == "train" and self.train is not None:
            return self.train
        if self.dataset.classes is None or len(self.classes) == len(self.dataset.classes):
            return None
        return rows_of_classes(self._rows(part).y, self.classes)

    def rows(self, part: str, indices: Tensor | None) -> Rows:
        """Rows of a part, changed.

        Args:
            indices: numbers of some of them; None for all of the part.
        """
        rows = self._rows(part)
        if indices is not None:
            rows = rows.subset(indices)
        return rows if self.change is None else rows.changed(self.change)

    def size(self, part: str) -> int:
        """Return how many rows a part has in the data set."""
        return len(self._rows(part))

    def _rows(self, part: str) -> Rows:
        rows = getattr(self.dataset, part)
        assert isinstance(rows, Rows)
        return rows


def rows_of_classes(y: Tensor, classes: Sequence[int]) -> Tensor:
    """The numbers of the rows that have one of these labels, int64, on the CPU."""
    return torch.isin(y, torch.tensor(classes, device=y.device)).nonzero().flatten().cpu()
