r"""g · min(1, c / ‖g‖).

$$ g \leftarrow g \cdot \min\left(1,\; \frac{c}{\lVert g\rVert}\right) $$
"""

from __future__ import annotations

import math

from torch import Tensor

from gradinc.config.values import Positive
from gradinc.core.method import Method
from gradinc.core.view import LearnerView


class Clip(Method):
    """Bound the gradient's entries, its norm, or both

    Paper: Pascanu et al. 2013, arXiv 1211.5063
    Title: On the difficulty of training Recurrent Neural Networks
    Authors: Razvan Pascanu, Tomas Mikolov, Yoshua Bengio
    Neutral: norm=inf
    Limits: Works where few gradients are much larger than the others. With Adam, which divides by the size of the
        gradients, little else changes.

    Entries are bounded first, which can change the direction. The norm covers all weights
    together. After a projection use `value=inf`: bounded entries leave its subspace.

    Args:
        norm: greatest norm; inf for no bound.
        value: greatest absolute value of an entry; inf for no bound.
    """

    role = "bounds"

    def __init__(self, *, norm: Positive = 1.0, value: Positive = math.inf) -> None:
        self.norm, self.value = norm, value

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        g.clamp_(-self.value, self.value)
        g.mul_((self.norm / g.norm()).clamp(max=1))
