"""Logged values of a run as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gradinc.base.errors import UserError
from gradinc.config.names import choose
from gradinc.records.curves import AXES, curve
from gradinc.records.recorded import RecordedRun


class Curve(NamedTuple):
    """Logged values ``y`` and their places ``x`` on another axis."""

    x: np.ndarray
    y: np.ndarray


def logged_curve(path: Path, key: str, over: str) -> Curve:
    """Return the values of a key in the log of a run directory, such as ``train.loss``.

    Args:
        over: one of `AXES`.

    Raises:
        UserError: the log has no such key, or there is no such axis.
    """
    if over not in AXES:
        raise UserError(f"over={over}", "no such axis", choose(over, list(AXES)))
    run = RecordedRun.open(path)
    names = {".".join(keys): keys for keys in run.columns}
    if key not in names:
        raise UserError(key, f"is not in the log of {path}", choose(key, list(names)))
    points = curve(run, over, *names[key])
    return Curve(np.array([x for x, _ in points]), np.array([y for _, y in points]))
