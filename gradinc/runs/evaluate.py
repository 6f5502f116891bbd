"""Evaluation of a model on rows that it is not trained on."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradinc.base.crash import crash_point
from gradinc.base.errors import UserError
from gradinc.base.objects import held
from gradinc.config.schema import EvaluateSection
from gradinc.core.criterion import Criterion
from gradinc.data.rows import Rows


class FunctionMetric:
    """The mean over rows of a function of outputs and targets, which a Python program gives.

    Args:
        chosen: ``evaluate.metric``, its name and its digest.
    """

    def __init__(self, chosen: str) -> None:
        self.name, _, digest = chosen.partition("-")
        self._function: Callable[[Tensor, Tensor], Tensor] = held("metric", digest, self.name)
        self._total: Tensor | None = None

    def add(self, criterion: Criterion, y: Tensor, out: Tensor, task: int, now: int) -> None:
        """Add the values of some rows. Outputs that do not count in testing are -∞.

        Raises:
            UserError: the function does not return one value for each row.
        """
        values = self._function(criterion.tested(out, task, now), y)
        if not isinstance(values, Tensor) or tuple(values.shape) != (len(y),):
            given = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
            what = f"returns {given} for {len(y)} rows, not one value for each"
            raise UserError(f"metric={self.name}", what, "Return a tensor of shape (rows,), and no mean")
        total = values.sum(dtype=torch.float64)
        self._total = total if self._total is None else self._total + total

    def mean(self, rows: int) -> float:
        """Return the mean over all rows that were added."""
        assert self._total is not None
        return float(self._total) / rows


def metric_of(options: EvaluateSection) -> FunctionMetric | None:
    """Return a new metric for one evaluation, as the ``evaluate`` section of a config names it."""
    return None if options.metric is None else FunctionMetric(options.metric)


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
    metric: FunctionMetric | None = None,
) -> dict[str, float]:
    """Return mean loss and accuracy, or MSE and R², and the criterion's metrics over all rows, in evaluation mode.

    Draws no random numbers, and restores the model's mode.

    Args:
        autocast: the lower precision of forward passes, or None.
        check: called before each forward pass; an error that it raises ends the evaluation.
        task: the task of the rows.
        now: the last task that the model was trained on.
        classifier: used for the forward passes instead of the model.
        metric: one more measure.
    """
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            total: torch.Tensor | None = None
            more: dict[str, torch.Tensor] = {}
            for x, y in rows.chunks(criterion.chunk):
                check()
                with torch.autocast(x.device.type, dtype=autocast, enabled=autocast is not None):
                    out = (classifier or model)(x)
                out = out.float() if autocast is not None else out
                sums = criterion.sums(y, out, task, now)
                total = sums if total is None else criterion.merged(total, sums)
                for name, part_metric in criterion.metrics.items():
                    part = part_metric.sums(criterion.tested(out, task, now), y).double()
                    more[name] = more[name] + part if name in more else part
                if metric is not None:
                    metric.add(criterion, y, out, task, now)
                crash_point("mid-evaluation")
    finally:
        model.train(training)
    if total is None:
        return {}
    found = {name: criterion.metrics[name].value(sums.tolist(), len(rows)) for name, sums in more.items()}
    given = {} if metric is None else {metric.name: metric.mean(len(rows))}
    return {**criterion.measures(total.tolist(), len(rows)), **found, **given}
