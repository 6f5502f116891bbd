r"""v + Σ nₖ clip(ḡₖ − v, τ) / Σ nₖ.

$$ g = v + \frac{\sum_k n_k\, \mathrm{clip}(\bar g_k - v,\, \tau)}{\sum_k n_k} $$
"""

from __future__ import annotations

from torch import Tensor

from gradinc.config.values import Positive
from gradinc.core.rule import SeparateRule
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class CenteredClip(SeparateRule):
    """Clip each micro-batch's gradient around the gradient of the last update

    Paper: Karimireddy et al. 2021, arXiv 2012.10333
    Title: Learning from History for Byzantine Robust Optimization
    Authors: Sai Praneeth Karimireddy, Lie He, Martin Jaggi
    Neutral: tau=inf
    Limits: Needs a radius that fits the length of the gradients: too small slows training down, too large clips
        nothing.

    A corrupt micro-batch of any size moves the gradient by at most its share of tau. The
    centre is this rule's gradient of the last update, and 0 before the first. With tau inf the
    rule is the mean.

    Args:
        tau: largest distance from the last update's gradient, a norm over all weights.
    """

    state = ("center", "total")

    def __init__(self, *, tau: Positive = 1.0) -> None:
        self.tau = tau
        self.center: Tensor | None = None
        self.total: Tensor | None = None

    def open(self, like: Tensor, size: int) -> None:
        if self.center is None:
            self.center = like.new_zeros(like.shape)
        self.total = None

    def add(self, g: Tensor, batch: Batch, learner: LearnerView) -> None:
        assert self.center is not None
        away = g.sub_(self.center)
        away.mul_((self.tau / away.norm()).clamp_(max=1.0).mul_(batch.items))
        if self.total is None:
            self.total = away.clone()
        else:
            self.total.add_(away)

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        assert self.center is not None
        assert self.total is not None
        # A new tensor: a method that rereads the window needs the old centre.
        self.center = self.total.div_(items).add_(self.center)
        grad.copy_(self.center)
        self.total = None
        return True
