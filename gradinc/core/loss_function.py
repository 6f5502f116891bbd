"""Criteria from loss functions and modules of PyTorch, or of one's own."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.core.criterion import Criterion, CrossEntropy, OneHotError, SquaredError
from gradinc.data.batch import Batch

Terms = Callable[[Tensor], Tensor]
"""Function from the targets of rows to the terms of the loss in each row, float, shape (rows,)."""


NAMED = {"cross_entropy": CrossEntropy, "squared_error": SquaredError, "one_hot_error": OneHotError}
"""Criteria by name."""


class LossFunction(Criterion):
    """The loss of each row by a function of outputs and targets; reports its mean.

    A loss of shape (rows, …) is one term for each row, the mean of the row's entries. With `terms` it is the sum of the
    row's entries, and a window divides by the sum of all rows' terms.

    Args:
        function: returns the loss of each row or of each entry, shape (rows, …), for outputs and targets.
        terms: the terms of the loss in each row (`Criterion.terms`); None if each row is one.
    """

    score = "loss"
    higher = False

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor], terms: Terms | None = None) -> None:
        self._function, self._terms = function, terms

    def __call__(self, batch: Batch, out: Tensor) -> Tensor:
        loss = self._function(out, batch.y)
        if loss.dim() == 0 or len(loss) != len(batch.y):
            what = f"returns a loss of shape {tuple(loss.shape)} for {len(batch.y)} rows"
            raise UserError("criterion", what, "Return the loss of each row, as with reduction='none'")
        if loss.dim() == 1:
            return loss
        return loss.flatten(1).mean(1) if self._terms is None else loss.flatten(1).sum(1)

    def terms(self, y: Tensor) -> Tensor | None:
        return None if self._terms is None else self._terms(y)

    def total(self, batch: Batch, out: Tensor) -> Tensor:
        rows = self(batch, out)
        return rows.sum() if batch.weight is None else (rows * batch.weight).sum()

    def sums(self, y: Tensor, out: Tensor, task: int = 0, now: int = 0) -> Tensor:
        return self(Batch(out, y, task, len(y)), out).sum().double()[None]

    def prequential(self, batch: Batch, out: Tensor) -> Tensor:
        return self(batch, out).detach()[: batch.fresh].sum(dtype=torch.float64)

    def measures(self, sums: list[float], rows: int) -> dict[str, float]:
        return {"loss": sums[0] / rows}


def criterion_of(given: Any, terms: Terms | None = None) -> Criterion:
    """Return the criterion for a loss of PyTorch, as a function or a module, or for a function of one's own.

    Args:
        given: a name in `NAMED`; a `Criterion`; ``torch.nn.functional.cross_entropy`` or another loss function with a
            ``reduction``, or a partial of one; a loss module such as ``torch.nn.CrossEntropyLoss()``; or a function of
            outputs and targets that returns the loss of each row, shape (rows,). A ``reduction`` becomes ``none``.
        terms: the terms of the loss in each row, for example the number of its tokens with a loss. For cross-entropy
            they follow from its class weights and its ``ignore_index``.

    Raises:
        UserError: it is none of these.
    """
    if isinstance(given, Criterion):
        return given
    if isinstance(given, str) and given in NAMED:
        return NAMED[given]()
    if isinstance(given, nn.Module) and hasattr(given, "reduction"):
        separate: Any = copy.copy(given)
        separate.reduction = "none"
        if type(given) is not nn.CrossEntropyLoss:
            return LossFunction(separate, terms)
        given = partial(
            F.cross_entropy,
            weight=given.weight,
            ignore_index=given.ignore_index,
            label_smoothing=given.label_smoothing,
        )
    function = given.func if isinstance(given, partial) else given
    if function is F.cross_entropy:
        options = {} if function is given else dict(given.keywords)
        return _cross_entropy(options, terms)
    if not callable(given) or isinstance(given, type):
        fix = "Give torch.nn.functional.cross_entropy, or a function of outputs and targets"
        raise UserError(f"criterion={given!r}", "is no loss", fix)
    if "reduction" in _parameters(given):
        given = partial(given, reduction="none")
    return LossFunction(given, terms)


def _cross_entropy(options: dict[str, Any], terms: Terms | None) -> Criterion:
    options.pop("reduction", None)
    weight, ignored = options.get("weight"), options.get("ignore_index", -100)
    if weight is None and not options.get("label_smoothing", 0.0) and ignored == -100 and terms is None:
        return CrossEntropy()

    def own(y: Tensor) -> Tensor:
        counted = y != ignored
        if weight is None:
            return counted.flatten(1).sum(1).double() if y.dim() > 1 else counted.double()
        each = weight.to(y.device)[y.where(counted, 0)] * counted
        return each.flatten(1).sum(1) if y.dim() > 1 else each

    one = weight is None and ignored == -100
    return LossFunction(partial(F.cross_entropy, **options, reduction="none"), terms or (None if one else own))


def _parameters(function: Callable[..., Any]) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):  # a function of C
        return set()
