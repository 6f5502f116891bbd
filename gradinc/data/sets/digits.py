"""Handwritten digits, small enough for a first run in seconds."""

from __future__ import annotations

import numpy as np

from gradinc.base.errors import UserError
from gradinc.data.installed import installed_folder, read_numbers
from gradinc.data.source import Source


def digits(root: str | None) -> Source:
    """1,797 handwritten digits of 8x8 pixels, installed with scikit-learn

    Values run from 0 to 16: how many of a 4x4 block of pixels are set. There is no official test
    part.
    """
    path = installed_folder("digits", root) / "digits.csv.gz"
    table = read_numbers(path, 65, ",")
    pixels, labels = table[:, :64], table[:, 64]
    if pixels.min() < 0 or pixels.max() > 16 or not set(labels) <= set(range(10)):
        raise UserError(str(path), "holds values that are not pixels or labels", "Reinstall scikit-learn")
    x = pixels.astype(np.uint8).reshape(-1, 1, 8, 8)
    return Source(x, labels.astype(np.int64), tuple("0123456789"), None, 16.0, str(path))
