"""Conversion of inputs from a user's file to rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from gradinc.base.errors import UserError

Layout = Literal["auto", "channels_first", "channels_last"]

CHANNELS = (1, 3)
"""Lengths of an axis that are recognised as channels."""

Arrays = Mapping[str, np.ndarray]


def input_rows(path: Path, arrays: Arrays, layout: Layout) -> tuple[np.ndarray, float]:
    """Return the inputs of all parts as one array.

    Args:
        path: their file, for messages.
        arrays: inputs by name, one array for each part.
        layout: the axis of the channels.

    Returns:
        uint8 images, shape (n, C, H, W), and 255; or float32 images or features, and 1.

    Raises:
        UserError: they can't be inputs, don't match each other, or hold NaN or Inf.
    """
    names = list(arrays)
    shapes = {name: array.shape[1:] for name, array in arrays.items()}
    for name in names[1:]:
        if shapes[name] != shapes[names[0]]:
            what = f"rows of {name} have shape {shapes[name]}, rows of {names[0]} {shapes[names[0]]}"
            raise UserError(str(path), what, "Save rows of one shape")
        if (arrays[name].dtype == np.uint8) != (arrays[names[0]].dtype == np.uint8):
            what = f"{name} is {arrays[name].dtype}, {names[0]} is {arrays[names[0]].dtype}"
            raise UserError(str(path), what, "Save all inputs in one dtype")
    x = np.concatenate(list(arrays.values())) if len(arrays) > 1 else arrays[names[0]]
    if x.ndim not in (2, 3, 4):
        fix = "Save (rows, features), (rows, height, width), or images with channels"
        raise UserError(str(path), f"{names[0]} has shape {x.shape}", fix)
    if x.ndim == 3:
        x = x[:, None]
    elif x.ndim == 4 and _channels_last(path, names[0], x.shape, layout):
        x = x.transpose(0, 3, 1, 2)
    if x.dtype == np.uint8 and x.ndim == 4:
        return np.ascontiguousarray(x), 255.0
    return finite_array(path, names[0].partition("_")[0], x), 1.0


def _channels_last(path: Path, name: str, shape: tuple[int, ...], layout: Layout) -> bool:
    if layout != "auto":
        return layout == "channels_last"
    first, last = shape[1] in CHANNELS, shape[3] in CHANNELS
    if first == last:
        what = f"{name} has shape {shape}: " + ("both places" if first else "no place") + " could be the channels"
        raise UserError(str(path), what, "Give data.layout=channels_first or data.layout=channels_last")
    return last


def finite_array(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    """Return the array as contiguous float32.

    Args:
        path, name: its file and its name, for messages.

    Raises:
        UserError: it holds NaN, Inf or a number beyond float32.
    """
    with np.errstate(over="ignore"):
        array = np.ascontiguousarray(array, np.float32)
    finite = np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    if not finite.all():
        row = int(np.flatnonzero(~finite)[0])
        what = (
            f"row {row} of {name} holds NaN, Inf or a number beyond float32 ({len(array) - finite.sum()} rows in all)"
        )
        raise UserError(str(path), what, "Clean the rows and save the file again")
    return array
