r"""g + λ · the moving average of g.

$$ g \leftarrow g + \lambda\, m, \qquad m \leftarrow \alpha\, m + (1 - \alpha)\, g $$
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Decay, NonNegative
from gradinc.core.method import Method
from gradinc.core.view import LearnerView


class Grokfast(Method):
    """Amplify the slow part of the gradient: add its moving average

    Paper: Lee et al. 2024, arXiv 2405.20233
    Title: Grokfast: Accelerated Grokking by Amplifying Slow Gradients
    Authors: Jaerin Lee, Bong Gyun Kang, Kihoon Kim, Kyoung Mu Lee
    Neutral: lamb=0
    Limits: Needs a slow part that many gradients share: in modular arithmetic the test accuracy rises after far fewer
        updates. On digits, which SGD learns at once, `gradinc table article` finds that it needs more rows than SGD and
        is no more accurate.

    The average covers updates, never micro-batches. A steady gradient grows by the factor 1 + λ, so the log has
    `effective_lr`, the learning rate times this factor: compare runs at equal values of it. The authors' program adds
    the mean of the last gradients only from update number `window` on, as `warmup` does.

    Args:
        kind: ema, an exponential moving average, or ma, the mean of the last gradients.
        alpha: share of the exponential average that each update keeps.
        lamb: λ, factor of the added average.
        window: updates in the mean; each needs the memory of one gradient.
        warmup: add the mean only once it covers `window` updates, not a mean of fewer updates.
    """

    state = ("average", "newer", "total", "older")

    def __init__(
        self,
        *,
        kind: Literal["ema", "ma"] = "ema",
        alpha: Decay = 0.98,
        lamb: NonNegative = 2.0,
        window: Count = 100,
        warmup: bool = False,
    ) -> None:
        if warmup and kind == "ema":
            what = "needs the mean of the last gradients, kind=ma"
            raise UserError("strategy.methods.grokfast.warmup=true", what, "Use kind=ma, or leave it out")
        self.kind, self.alpha, self.lamb, self.window, self.warmup = kind, alpha, lamb, window, warmup
        self.average: Tensor | None = None
        self.newer: list[Tensor] = []
        self.total: Tensor | None = None
        self.older: list[Tensor] = []

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        average = self._exponential(g) if self.kind == "ema" else self._mean(g)
        waits = self.warmup and len(self.newer) + len(self.older) < self.window
        if not waits:
            g.add_(average, alpha=self.lamb)
        learner.note("effective_lr", g.new_full((), learner.lr * (1 if waits else 1 + self.lamb)))

    def _exponential(self, g: Tensor) -> Tensor:
        """Update and return μ ← α μ + (1 − α) g, starting with μ = g."""
        self.average = g.clone() if self.average is None else self.average.lerp_(g, 1 - self.alpha)
        return self.average

    def _mean(self, g: Tensor) -> Tensor:
        """Return the mean of the last `window` gradients.

        The queue consists of two stacks: `newer` contains gradients and has their sum in `total`; each entry of `older`
        is the sum of its own gradient and of all younger gradients of the stack. A mean thus costs two additions for
        any length of the queue, and nothing is subtracted: the rounding errors of a large gradient leave the queue with
        it.
        """
        if len(self.newer) + len(self.older) == self.window:
            if not self.older:
                self._turn()
            self.older.pop()
        self.newer.append(g.clone())
        self.total = g.clone() if self.total is None else self.total.add_(g)
        total = self.total + self.older[-1] if self.older else self.total
        return total / (len(self.newer) + len(self.older))

    def _turn(self) -> None:
        """Move the younger gradients to the older stack, youngest at the bottom."""
        self.older.append(self.newer.pop())
        while self.newer:
            self.older.append(self.newer.pop().add_(self.older[-1]))
        self.total = None
