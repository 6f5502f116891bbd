r"""(Σᵢ clip(∇ℓᵢ) + N(0, σ²C²)) / Σ nₖ.

$$ g = \frac{1}{\sum_k n_k} \left(\sum_i \mathrm{clip}(\nabla \ell_i,\, C) + \mathcal{N}(0,\, \sigma^2 C^2 I)\right) $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.base.randomness import generator
from gradinc.config.values import Count, NonNegative, Positive
from gradinc.core.row_gradients import RowGradients
from gradinc.core.rule import Rule
from gradinc.core.spread import Spread
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class DP(Rule):
    """DP-SGD: each row's gradient is clipped, and noise added once per window

    Paper: Abadi et al. 2016, arXiv 1607.00133
    Title: Deep Learning with Differential Privacy
    Authors: Martin Abadi, Andy Chu, Ian Goodfellow, H. Brendan McMahan, Ilya Mironov, Kunal Talwar, Li Zhang
    Limits: Costs accuracy and passes, and gives no privacy guarantee, because no privacy budget is counted. Gradients
        of single rows give much less away (`gradinc table safety`).

    A row's gradient is the gradient of its loss; for a row of tokens this is the sum over the tokens. Rows are
    clipped and the noise is drawn for the window, so a window equals the large batch of its rows. Rows come in the
    order of the epoch and not by Poisson sampling, and no privacy budget is computed.

    Args:
        clip: norm C that no row's gradient exceeds.
        noise: standard deviation of the noise, in units of clip.
        chunk: rows whose gradients are in memory at a time, for models whose gradients have no factored form.
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

    def factor(self, items: float, planned: float) -> float:
        return 1 / items if items else 0.0

    def open(self, like: Tensor, size: int) -> None:
        self.total = None
        self.draws += 1  # a gradient computed again is a second release, and needs its own noise

    def collect(
        self, objective: Tensor, factor: float, batch: Batch, learner: LearnerView, taken: int, spread: Spread
    ) -> None:
        if batch.items == 0:
            return
        measured = spread.wants(taken)
        whole = torch.zeros_like(learner.weights.value) if measured or spread.keeps else None
        for rows in learner.passes.rows_of(objective, batch, self.chunk):
            norms = self._clip(rows, learner)
            if whole is not None:
                rows.add_combined(torch.full_like(norms, factor), whole)
        spread.add(torch.dot(whole, whole) if measured and whole is not None else None, factor, batch, whole)

    def collect_again(self, batch: Batch, factor: float, learner: LearnerView, total: Tensor) -> None:
        for rows in learner.passes.rows_again(batch, self.chunk):
            self._clip(rows, learner)

    def _clip(self, rows: RowGradients, learner: LearnerView) -> Tensor:
        """Add the clipped gradients of some rows; return their norms, shape (rows,)."""
        if self.total is None:
            self.total = self._drawn(learner)
        norms = rows.norms().clamp_(min=torch.finfo(self.total.dtype).tiny)
        rows.add_combined((self.clip / norms).clamp_(max=1), self.total)
        return norms

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        assert self.total is not None
        torch.div(self.total, items, out=grad)
        self.total = None
        return True

    def _drawn(self, learner: LearnerView) -> Tensor:
        """Return the window's noise, which does not depend on the micro-batches that its rows are split into."""
        like = learner.weights.value
        if not self.noise:
            return torch.zeros_like(like)
        place = (learner.place.task, learner.place.updates, self.draws)
        random = generator(learner.place.seed, "dp", *place, device=like.device)
        return torch.randn(like.shape, generator=random, device=like.device, dtype=like.dtype) * self.noise * self.clip
