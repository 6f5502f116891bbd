r"""The mean of the gradients that agree with the mean so far.

$$ g \leftarrow \text{the mean of } \bar g_k \text{ with } 1 - \cos(\bar g_k,\, m_{k-1}) \le \tau, \qquad m_{k-1} =
\text{the mean so far} $$
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import torch
from annotated_types import Ge, Le
from torch import Tensor

from gradinc.base.errors import Diverged
from gradinc.core.rule import SeparateRule
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class Agreement(SeparateRule):
    """Gradient agreement filtering: use only gradients of similar direction

    Paper: Chaubard et al. 2024, arXiv 2412.18052
    Title: Beyond Gradient Averaging in Parallel Optimization: Improved Robustness through Gradient Agreement Filtering
    Authors: Francois Chaubard, Duncan Eddy, Mykel J. Kochenderfer
    Neutral: tau=2
    Limits: The threshold has to fit the noise of the micro-batches: if it is too strict, most windows make no update.

    A micro-batch counts if the cosine distance of its gradient to the mean of the earlier gradients that counted is at
    most tau: 0 is the same direction, 1 orthogonal, 2 opposite. If no gradient agrees with the first, there is no
    update. With tau 2 the rule is the mean.

    Args:
        tau: largest cosine distance.
        average: mean, as in the paper, or halving, as in its authors' code: each gradient that counts has weight 1/2.
    """

    state = ("mean", "weight", "taken", "kept")

    def __init__(
        self, *, tau: Annotated[float, Ge(0), Le(2)] = 1.0, average: Literal["mean", "halving"] = "mean"
    ) -> None:
        self.tau, self.average = tau, average
        self.mean: Tensor | None = None
        self.weight = 0.0
        self.taken = self.kept = 0

    def open(self, like: Tensor, size: int) -> None:
        self.mean, self.weight = None, 0.0
        self.taken = self.kept = 0

    def add(self, g: Tensor, batch: Batch, learner: LearnerView) -> None:
        self.taken += 1
        if self.mean is None:
            self.mean = g.clone()
        elif _cosine_distance(g, self.mean, learner) <= self.tau:
            share = 0.5 if self.average == "halving" else batch.items / (self.weight + batch.items)
            self.mean.lerp_(g, share)
        else:
            return
        self.weight += batch.items
        self.kept += 1

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        assert self.mean is not None
        grad.copy_(self.mean)
        self.mean = None
        return self.kept > 1 or self.taken == 1  # a window of one micro-batch always counts


def _cosine_distance(a: Tensor, b: Tensor, learner: LearnerView) -> float:
    """Return 1 − cos(a, b), from 0 to 2; 1 if a or b is 0."""
    product, lengths = torch.stack((a @ b, a.norm() * b.norm())).tolist()
    if not math.isfinite(product):
        raise Diverged(learner.place.updates + 1, "the gradient of a micro-batch")
    return min(max(1 - product / lengths if lengths > 0 else 1.0, 0.0), 2.0)
