"""The result of a data set's function: every row read, not split, not normalised."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from gradinc.data.text import Sequences

TRAIN, VALIDATION, TEST = 0, 1, 2
"""The three parts, as numbers in `Source.part` and in a split."""

REFERENCE = 3
"""A fourth part: rows that decide the normalisation, and that no other part includes."""

DATA_PARTS = ("train", "validation", "test")
"""Names of the parts, by number."""


class Statistics(Protocol):
    """Sums over the training rows of files, from which their mean and deviation follow.

    Attributes:
        totals: the sums, one row for each channel or feature; they are all that a record of a pass has to store.
    """

    totals: np.ndarray

    def add(self, rows: np.ndarray) -> None:
        """Include rows, shape (n, *shape)."""

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of each channel or feature, float64, in raw units."""


@dataclass(frozen=True)
class RowFiles(ABC):
    """Files with one row each, not yet decoded.

    Attributes:
        root: the folder.
        paths: each file's path relative to `root`, with forward slashes.
        digests: the sha256 of each file, one after the other, after every file has been read.
        dtype: dtype of decoded values.
        cache: name of the folder in the user's cache for records of these files.
    """

    root: Path
    paths: tuple[str, ...]
    digests: bytes = field(default=b"", kw_only=True)
    dtype: ClassVar[type[np.generic]]
    cache: ClassVar[str]

    def __len__(self) -> int:
        return len(self.paths)

    def digest(self, index: int) -> bytes | None:
        """Return the sha256 of a file at the time of reading the data set; None before."""
        return self.digests[32 * index : 32 * (index + 1)] or None

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of one decoded row."""

    @property
    @abstractmethod
    def threads(self) -> int:
        """Number of threads that decode."""

    @property
    @abstractmethod
    def key(self) -> str:
        """What distinguishes these rows from other rows of the same files, as text."""

    @property
    @abstractmethod
    def recipe(self) -> bytes:
        """All that decoded values depend on, besides the contents of the files."""

    @abstractmethod
    def decode(self, index: int, content: bytes) -> np.ndarray:
        """Return the row of a file with this content; `failure` turns an exception into a message."""

    @abstractmethod
    def failure(self, error: Exception) -> str:
        """Return what is wrong with a file that could not be read."""

    @abstractmethod
    def check(self) -> None:
        """Check the header of every file. Decodes no row.

        Raises:
            UserError: a file is broken, or does not fit the others.
        """

    @abstractmethod
    def statistics(self) -> Statistics:
        """Return new, empty statistics for these rows."""

    def first_reading(self) -> AbstractContextManager[None]:
        """Return the context in which all files are decoded for the first time."""
        return nullcontext()


@dataclass(frozen=True)
class Source:
    """A data set as it was read.

    Attributes:
        x: uint8 images, shape (n, C, H, W); or float32 rows, shape (n, …); or files with one row each; or text.
        y: int64 labels, shape (n,); or float32 targets, shape (n, targets); zeros, int64, if the targets are tokens.
        classes: the classes' names, by label; None for regression.
        part: the official part of each row (`TRAIN`, `VALIDATION`, `TEST`), int8, shape (n,); None
            without official parts.
        scale: divisor of values for input units, which are 0 to 1 for images.
        origin: source of the rows, as text.
        standardize_target: whether to standardise regression targets by the training rows.
        groups: the group of each row, e.g. its speaker, int64, shape (n,); None without groups.
        group_names: the groups' names, by number.
        law: the function from raw inputs, shape (n, …), to targets, shape (n, targets), if it is known. A stream can
            compute the targets of changed inputs with it.
    """

    x: np.ndarray | RowFiles | Sequences
    y: np.ndarray
    classes: tuple[str, ...] | None
    part: np.ndarray | None
    scale: float
    origin: str
    standardize_target: bool = False
    groups: np.ndarray | None = None
    group_names: tuple[str, ...] = ()
    law: Callable[[np.ndarray], np.ndarray] | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self.x.shape[1:]) if isinstance(self.x, np.ndarray) else self.x.shape
