"""The result of a data set's function: every row read, not split, not normalised."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

TRAIN, VALIDATION, TEST = 0, 1, 2
"""The three parts, as numbers in `Source.part` and in a split."""

DATA_PARTS = ("train", "validation", "test")
"""Names of the parts, by number."""


@dataclass(frozen=True)
class ImageFiles:
    """Images in a folder, not yet decoded.

    Attributes:
        root: the folder.
        paths: each image's path relative to `root`, with forward slashes.
        height, width: size of every image, in pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        resize: whether images are scaled and cropped to this size; otherwise all have it already.
        digests: the sha256 of each file, one after the other, after every file has been read.
    """

    root: Path
    paths: tuple[str, ...]
    height: int
    width: int
    channels: int
    resize: bool
    digests: bytes = b""

    def __len__(self) -> int:
        return len(self.paths)

    def digest(self, index: int) -> bytes | None:
        """Return the sha256 of a file at the time of reading the data set; None before."""
        return self.digests[32 * index : 32 * (index + 1)] or None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one decoded image: channels, height, width."""
        return (self.channels, self.height, self.width)


@dataclass(frozen=True)
class Source:
    """A data set as it was read.

    Attributes:
        x: uint8 images, shape (n, C, H, W); or float32 rows, shape (n, …); or images in a folder.
        y: int64 labels, shape (n,); or float32 targets, shape (n, targets).
        classes: the classes' names, by label; None for regression.
        part: the official part of each row (`TRAIN`, `VALIDATION`, `TEST`), int8, shape (n,); None
            without official parts.
        scale: divisor of values for input units, which are 0 to 1 for images.
        origin: source of the rows, as text.
        standardize_target: whether to standardise regression targets by the training rows.
    """

    x: np.ndarray | ImageFiles
    y: np.ndarray
    classes: tuple[str, ...] | None
    part: np.ndarray | None
    scale: float
    origin: str
    standardize_target: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return tuple(self.x.shape[1:]) if isinstance(self.x, np.ndarray) else self.x.shape
