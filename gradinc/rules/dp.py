"""(Σᵢ clip(∇ℓᵢ) + N(0, σ²C²)) / Σ nₖ."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.base.randomness import generator
from gradinc.config.values import Count, NonNegative, Positive
from gradinc.core.rule import SeparateRule
from gradinc.core.spread import Spread
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class DP(SeparateRule):
    """DP-SGD: each row's gradient is clipped, and noise added once per window

    Paper: Abadi et al. 2016, arXiv 1607.00133

    Rows are clipped and the noise is drawn for the window, so a window equals the large batch of its rows. Rows come
    in the order of the epoch and not by Poisson sampling, and no privacy budget is computed.

    Args:
        clip: norm C that no row's gradient exceeds.
        noise: standard deviation of the noise, in units of clip.
        chunk: rows whose gradients are in memory at a time.
    """

    state = ("total", "draws")
    by_row = True

    def __init__(self, *, clip: Positive = 1.0, noise: NonNegative = 1.0, chunk: Count = 64) -> None:
        if noise and clip == float("inf"):
            what = "would need infinite noise"
            raise UserError("strategy.window.dp.clip=inf", what, "Use strategy.window.dp.noise=0, or clip")
        self.clip, self.noise, self.chunk = clip, noise, chunk
        self.total: Tensor | None = None
        self.draws = 0

    def open(self, like: Tensor, size: int) -> None:
        self.total = None
        self.draws += 1  # a gradient computed again is a second release, and needs its own noise

    def collect(
        self, objective: Tensor, factor: float, batch: Batch, learner: LearnerView, taken: int, spread: Spread
    ) -> None:
        if spread.wants(taken) or spread.keeps:  # the sum of the rows' gradients without clipping is not computed
            super().collect(objective, factor, batch, learner, taken, spread)
        else:
            spread.add(None, factor, batch)
            self.add(learner.weights.grad, batch, learner)

    def collect_again(self, batch: Batch, factor: float, learner: LearnerView, total: Tensor) -> None:
        self.add(total, batch, learner)

    def add(self, g: Tensor, batch: Batch, learner: LearnerView) -> None:
        if self.total is None:
            self.total = self._drawn(g, learner)
        tiny = torch.finfo(g.dtype).tiny
        for first in range(0, len(batch.x), self.chunk):
            own = slice(first, first + self.chunk)
            tasks = None if batch.tasks is None else batch.tasks[own]
            part = Batch(batch.x[own], batch.y[own], batch.task, float(len(batch.x[own])), tasks=tasks)
            rows = learner.gradient(part, each=True)
            if batch.weight is not None:
                rows = rows * batch.weight[own, None]
            shares = (self.clip / rows.norm(dim=1).clamp_(min=tiny)).clamp_(max=1)
            self.total.addmv_(rows.T, shares)

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        assert self.total is not None
        torch.div(self.total, items, out=grad)
        self.total = None
        return True

    def _drawn(self, like: Tensor, learner: LearnerView) -> Tensor:
        """Return the window's noise, which does not depend on the micro-batches that its rows are split into."""
        if not self.noise:
            return torch.zeros_like(like)
        place = (learner.place.task, learner.place.updates, self.draws)
        random = generator(learner.place.seed, "dp", *place, device=like.device)
        return torch.randn(like.shape, generator=random, device=like.device, dtype=like.dtype) * self.noise * self.clip
