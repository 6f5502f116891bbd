r"""u ⊙ 1[u ⊙ g > 0], scaled by d / (nnz + 1).

$$ u \leftarrow u \odot \mathbf{1}[u \odot g > 0] \cdot \frac{d}{\mathrm{nnz} + 1} $$
"""

from __future__ import annotations

from torch import Tensor

from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.core.window import Window


class Cautious(Method):
    """Drop the entries of an update that go against the gradient

    Paper: Liang et al. 2024, arXiv 2411.16085
    Title: Cautious Optimizers: Improving Training with One Line of Code
    Authors: Kaizhao Liang, Lizhang Chen, Bo Liu, Qiang Liu
    Limits: Needs an optimizer with momentum: the update of plain SGD never goes against its gradient.

    The update u is the optimizer's change of the weights without decoupled weight decay. Decoupled decay is a share of
    the previous weights, so it can be separated, and it acts on all weights. Weight decay that is added to the gradient
    (for example by SGD) goes through the momentum, so it is part of u. The mask, and its scale for the nnz of d entries
    that are left, cover all weights together.
    """

    role = "masks"

    def __init__(self) -> None:
        self.before: Tensor | None = None

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        self.before = learner.weights.value.clone()

    def stepped(self, window: Window, learner: LearnerView) -> None:
        assert self.before is not None
        weights, g = learner.weights.value, learner.weights.grad
        decayed = self.before.mul_(1 - _decay(learner))
        u = weights - decayed
        mask = (u * g < 0).to(u.dtype)  # u is a descent step, so it agrees with g where their signs differ
        weights.copy_(decayed.add_(u.mul_(mask).mul_(mask.numel() / (mask.sum() + 1))))
        self.before = None


def _decay(learner: LearnerView) -> float:
    """Return the share of the weights that decoupled weight decay removed in the last update."""
    for group in learner.optimizer.param_groups:
        if group.get("decoupled_weight_decay"):
            return float(group["lr"] * group["weight_decay"])
    return 0.0
