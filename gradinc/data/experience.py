"""The definition of each task in a stream's file, before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.base.randomness import generator
from gradinc.data.dataset import Dataset
from gradinc.data.rows import Change, Rows, SelectedRows


@dataclass(frozen=True)
class Material:
    """The data sets and the seed from which a stream is built.

    Attributes:
        dataset: the run's data set.
        seed: seed of the stream's draws.
        load: loads another data set by its name and root, prepared in the same way as the run's data set.
    """

    dataset: Dataset
    seed: int
    load: Callable[[str, str | None], Dataset]

    def generator(self, *purpose: object) -> torch.Generator:
        """Return a new generator on the CPU for one purpose."""
        return generator(self.seed, "stream", *purpose)

    @property
    def classes(self) -> tuple[int, ...]:
        """The labels of the data set.

        Raises:
            UserError: the data set is a regression.
        """
        if self.dataset.classes is None:
            raise UserError(
                "stream", f"tasks are made of classes, and data={self.dataset.name} has none", "Use stream=iid"
            )
        return tuple(range(len(self.dataset.classes)))


Targets = Callable[[str, Rows], Tensor]


@dataclass(frozen=True)
class Experience:
    """One task: its rows of a data set, and the change of its inputs.

    Attributes:
        dataset: the data set of the rows.
        classes: labels that occur in it, in the order of its outputs if it has its own.
        train: numbers of its training rows, int64; None for all rows of its classes.
        change: function applied to the inputs of training, validation and test rows alike, when they are taken; or
            None. No changed copy is stored, so that memory does not grow with the number of tasks.
        group: number of the data set's group to which its rows belong; None for the rows of all groups.
        targets: function of a part's name and all of its rows, with their inputs before the change, to their targets in
            this task, shaped like the rows' own; None for the rows' own targets.
    """

    dataset: Dataset
    classes: tuple[int, ...]
    train: Tensor | None = None
    change: Change | None = None
    group: int | None = None
    targets: Targets | None = None

    def indices(self, part: str) -> Tensor | None:
        """Return the numbers of a part's rows, int64, on the CPU; None for all of the part.

        Args:
            part: ``train``, ``validation`` or ``test``.
        """
        if part == "train" and self.train is not None:
            return self.train
        if self.group is not None:
            assert self.dataset.groups is not None
            return (self.dataset.groups.of_rows[part] == self.group).nonzero().flatten()
        if self.dataset.classes is None or len(self.classes) == len(self.dataset.classes):
            return None
        return rows_of_classes(self._rows(part).y, self.classes)

    def rows(self, part: str, indices: Tensor | None) -> Rows:
        """Return rows of a part, with changed inputs.

        Args:
            indices: numbers of the rows; None for all of the part.
        """
        rows = self._rows(part)
        if self.change is not None:
            return (rows if indices is None else SelectedRows(rows, indices)).changed(self.change)
        return rows if indices is None else rows.subset(indices)

    def size(self, part: str) -> int:
        """Return the number of rows of a part in the data set."""
        return len(getattr(self.dataset, part))

    def _rows(self, part: str) -> Rows:
        rows = getattr(self.dataset, part)
        assert isinstance(rows, Rows)
        return rows if self.targets is None else rows.labelled(self.targets(part, rows))

    def y(self, part: str) -> Tensor:
        """Return the targets of all rows of a part, shape (rows,) or (rows, targets)."""
        return self._rows(part).y


KEPT = 256
"""Changes that a stream stores at a time."""


def on_demand(make: Callable[[int], Change]) -> Callable[[int], Change]:
    """Return the change of each task, by its index; what the change needs is created when rows are taken.

    A stream of thousands of tasks then stores neither permutations nor grids of all of them.

    Args:
        make: creates the change of a task, the same one each time.
    """
    made = lru_cache(KEPT)(make)
    return lambda task: lambda x: made(task)(x)


def rows_of_classes(y: Tensor, classes: Sequence[int]) -> Tensor:
    """Return the numbers of the rows with one of these labels, int64, on the CPU."""
    return torch.isin(y, torch.tensor(classes, device=y.device)).nonzero().flatten().cpu()
