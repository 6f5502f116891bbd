"""Evaluation of a model on rows that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from gradinc.base.crash import crash_point
from gradinc.core.criterion import Criterion
from gradinc.data.rows import Rows

CHUNK = 512
"""Rows in one forward pass; fixed, since the last bits of a sum depend on it."""


def evaluate(
    model: nn.Module,
    rows: Rows,
    criterion: Criterion,
    autocast: torch.dtype | None = None,
    check: Callable[[], None] = lambda: None,
    *,
    task: int = 0,
    now: int = 0,
    classifier: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> dict[str, float]:
    """Return mean loss and accuracy, or MSE and R², over all rows, in evaluation mode.

    Draws no random numbers, and restores the model's mode.

    Args:
        autocast: the lower precision of forward passes, or None.
        check: called before each forward pass; an error that it raises ends the evaluation.
        task: the task of the rows.
        now: the last task that the model was trained on.
        classifier: used for the forward passes instead of the model.
    """
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            total: torch.Tensor | None = None
            for x, y in rows.chunks(CHUNK):
                check()
                with torch.autocast(x.device.type, dtype=autocast, enabled=autocast is not None):
                    out = (classifier or model)(x)
                sums = criterion.sums(y, out.float() if autocast is not None else out, task, now)
                total = sums if total is None else criterion.merged(total, sums)
                crash_point("mid-evaluation")
    finally:
        model.train(training)
    if total is None:
        return {}
    return criterion.measures(total.tolist(), len(rows))
