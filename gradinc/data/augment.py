"""Augmentation of whole batches, with a separate draw for each row."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import cache

import torch
from torch import Tensor

from gradinc.config.catalog import load_part
from gradinc.config.parts_folder import used_folders


def augment(x: Tensor, names: Sequence[str], generator: torch.Generator, fill: Tensor | float = 0.0) -> Tensor:
    """Apply augmentations in the order of their names.

    Args:
        x: inputs, shape (rows, *shape); not changed.
        names: augmentations of ``data.augment``.
        generator: a generator for this batch, on any device.
        fill: value of pixels outside of an image: one, or one for each channel (`Dataset.fill`).

    Returns:
        Inputs of the same shape.
    """
    for change, takes_fill in _changes(tuple(names), used_folders()):
        x = change(x, generator, fill) if takes_fill else change(x, generator)
    return x


@cache
def _changes(names: tuple[str, ...], folders: object) -> list[tuple[Callable[..., Tensor], bool]]:
    """Return the functions of augmentations, each with whether it takes the value of pixels outside."""
    changes = [load_part("augmentation", name) for name in names]
    return [(change, "fill" in inspect.signature(change).parameters) for change in changes]
