"""Files of MNIST's format."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np


def idx_bytes(array: np.ndarray) -> bytes:
    """The bytes of an IDX file that holds an array of uint8."""
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    return bytes((0, 0, 8, array.ndim)) + sizes + array.astype(np.uint8).tobytes()


def write_mnist(folder: Path, *, compressed: bool = True) -> Path:
    """The four files of a small relative of MNIST: 40 training and 20 test images of 4x4 pixels."""
    random = np.random.default_rng(1)
    folder.mkdir(parents=True)
    for prefix, rows in (("train", 40), ("t10k", 20)):
        for kind, array in (
            ("images-idx3-ubyte", random.integers(0, 256, (rows, 4, 4))),
            ("labels-idx1-ubyte", np.arange(rows) % 10),
        ):
            content = idx_bytes(array)
            name = f"{prefix}-{kind}" + (".gz" if compressed else "")
            (folder / name).write_bytes(gzip.compress(content) if compressed else content)
    return folder
