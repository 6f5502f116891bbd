"""``gradinc.load``: a run directory, opened in Python."""

from __future__ import annotations

from typing import Any

from gradinc.runs.trained import FinishedRun


def load(run: Any) -> FinishedRun:
    """Open a run directory in Python: its config, record and trained model.

    Args:
        run: path of a run directory, or the name of one under ``outputs``.

    Raises:
        gradinc.UserError: there is no such run, or its checkpoint is damaged.
    """
    return FinishedRun.open(run)
