"""Generated signals of forty values, one shape for each digit."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from gradinc.base.errors import UserError
from gradinc.config.values import Whole
from gradinc.data.source import TEST, TRAIN, VALIDATION, Source

LENGTH, SEED, CLASSES = 40, 42, tuple("0123456789")


def mnist1d(root: str | None, *, shuffled: bool = False, validation_rows: Whole = 0) -> Source:
    """4,000 + 1,000 generated signals of 40 values, 10 classes

    Paper: Greydanus & Kobak 2020, arXiv 2011.14439
    Title: Scaling Down Deep Learning with MNIST-1D
    Authors: Sam Greydanus, Dmitry Kobak

    The numbers are the same on every machine: the package's default arguments and its seed 42 are used.

    Args:
        shuffled: permutes the positions of all signals in the same way, so that neighbours have no relation.
        validation_rows: additional signals for validation; 0 uses data.validation of the training rows instead.
    """
    if root is not None:
        raise UserError(f"data.root={root}", "mnist1d is computed, not read from a file", "Leave it out")
    with _undisturbed():
        train_x, train_y, test_x, test_y = _signals(5000, SEED)
        # Drawn at the same point as in the package: right after the signals, from the same generator.
        order = np.random.permutation(LENGTH) if shuffled else np.arange(LENGTH)
        extra_x, extra_y = np.empty((0, LENGTH)), np.empty(0, np.int64)
        if validation_rows:
            first_x, first_y, second_x, second_y = _signals(-(-validation_rows // 10) * 10, SEED + 1)
            extra_x = np.concatenate((first_x, second_x))[:validation_rows]
            extra_y = np.concatenate((first_y, second_y))[:validation_rows]
    x = np.concatenate((train_x, extra_x, test_x))[:, order].astype(np.float32)
    y = np.concatenate((train_y, extra_y, test_y)).astype(np.int64)
    part = np.repeat(np.array([TRAIN, VALIDATION, TEST], np.int8), [len(train_y), len(extra_y), len(test_y)])
    return Source(x, y, CLASSES, part, 1.0, "made by the package mnist1d")


def _signals(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return signals and labels for training, then for testing."""
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise UserError("data=mnist1d", f"its package is not here ({error})", "pip install mnist1d") from None
    args = get_dataset_args()
    args.num_samples, args.seed = count, seed
    made = make_dataset(args)
    return made["x"], made["y"], made["x_test"], made["y_test"]


@contextmanager
def _undisturbed() -> Iterator[None]:
    """Restore Python's and NumPy's shared generators, which the package seeds, after the code inside."""
    python, shared = random.getstate(), np.random.get_state()
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(shared)
