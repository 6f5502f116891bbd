"""Arrays in an npz file of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from gradinc.base.errors import UserError
from gradinc.data.arrays import input_rows
from gradinc.data.npz_file import array_names, read_npz
from gradinc.data.source import TEST, TRAIN, VALIDATION, Source
from gradinc.data.targets import targets_of

FORM = "x and y, or x_train, y_train, x_test, y_test and perhaps x_val, y_val"


def npz(
    root: str | None,
    *,
    task: Literal["auto", "classes", "values"] = "auto",
    layout: Literal["auto", "channels_first", "channels_last"] = "auto",
    standardize_target: bool = True,
) -> Source:
    """Your own arrays: data.root=FILE.npz with x and y

    Either x and y, split by data.validation and data.test, or x_train, y_train, x_test, y_test and
    optionally x_val, y_val. Rows of one dimension are features, rows of two are images of one channel,
    rows of three are images. uint8 images are divided by 255.

    Args:
        task: meaning of y. auto: whole numbers are classes, others are values of a regression, and an ambiguous y is
            refused; classes: also for whole numbers saved as floats, or one-hot rows; values: also for integers.
        layout: axis of the channels of images; auto uses the only one of the two axes with length 1 or 3.
        standardize_target: for regression, subtract the training targets' mean and divide by their deviation.
    """
    if root is None:
        raise UserError("data.root", "npz needs a file", f"Give data.root=FILE.npz, which holds {FORM}")
    path = Path(root).expanduser()
    parts = _parts(path)
    arrays = read_npz(path, [name for part in parts for name in part.names])
    for part in parts:
        rows, targets = (len(arrays[name]) for name in part.names)
        if rows != targets:
            what = f"{part.x} has {rows} rows, {part.y} has {targets}"
            raise UserError(str(path), what, "Save as many targets as rows")
    x, scale = input_rows(path, {part.x: arrays[part.x] for part in parts}, layout)
    y, classes = targets_of(path, {part.y: arrays[part.y] for part in parts}, task)
    official = np.concatenate([np.full(len(arrays[part.x]), part.number, np.int8) for part in parts])
    drawn = parts == [WHOLE]
    standardize = classes is None and standardize_target
    return Source(x, y, classes, None if drawn else official, scale, str(path), standardize)


class _Part(NamedTuple):
    """The names of a part's arrays, and the part's number."""

    x: str
    y: str
    number: int

    @property
    def names(self) -> tuple[str, str]:
        return self.x, self.y


WHOLE = _Part("x", "y", TRAIN)
OFFICIAL = (
    _Part("x_train", "y_train", TRAIN),
    _Part("x_val", "y_val", VALIDATION),
    _Part("x_test", "y_test", TEST),
)


def _parts(path: Path) -> list[_Part]:
    """Return the parts in a file, the training part first."""
    there = array_names(path)
    known = there & {name for part in (WHOLE, *OFFICIAL) for name in part.names}
    if known == set(WHOLE.names):
        return [WHOLE]
    parts = [part for part in OFFICIAL if known & set(part.names)]
    if {OFFICIAL[0], OFFICIAL[2]} <= set(parts) and known == {name for part in parts for name in part.names}:
        return parts
    listed = ", ".join(sorted(there)) or "nothing"
    raise UserError(str(path), f"holds {listed}", f"Save {FORM}")
