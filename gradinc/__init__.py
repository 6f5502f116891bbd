"""gradinc: experiments on how gradients are accumulated, enhanced and projected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gradinc.runs.trained import FinishedRun

__version__ = "0.1.0"
__all__ = ["__version__", "load"]


def load(run: Any) -> FinishedRun:
    """Open a run directory in Python: its config, record and trained model.

    Args:
        run: path of a run directory, or the name of one under ``outputs``.

    Raises:
        gradinc.base.errors.UserError: there is no such run, or its checkpoint is damaged.
    """
    from gradinc.runs.trained import FinishedRun  # torch is imported here, not with the package

    return FinishedRun.open(run)
