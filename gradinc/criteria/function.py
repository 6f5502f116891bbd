"""A loss of the calling program."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.base.objects import held


def function(out: Tensor, y: Tensor, *, of: str = "", digest: str = "") -> Tensor:
    """Your own function, from Python: gradinc.train(criterion=f)

    It returns the loss of each row, or of each number of a row, whose mean counts.

    Args:
        of: its name.
        digest: digest of its code.
    """
    loss: Callable[[Tensor, Tensor], Tensor] = held("criterion", digest, of)
    try:
        rows = loss(out, y)
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        what = f"fails on outputs of shape {tuple(out.shape)} and targets of shape {tuple(y.shape)} ({text})"
        raise UserError(f"criterion={of}", what, "Give a function of both that returns the loss of each row") from error
    if isinstance(rows, Tensor) and rows.ndim > 1 and len(rows) == len(out):
        rows = rows.flatten(1).mean(1)
    if not isinstance(rows, Tensor) or tuple(rows.shape) != (len(out),):
        given = f"the shape {tuple(rows.shape)}" if isinstance(rows, Tensor) else f"a {type(rows).__name__}"
        what = f"returns {given} for {len(out)} rows, not the loss of each row"
        raise UserError(f"criterion={of}", what, 'Use reduction="none"')
    return rows
