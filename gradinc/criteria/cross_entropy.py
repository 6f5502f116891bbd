"""−Σ q log p, with q 1 for the class, or smoothed."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Fraction
from gradinc.core.criterion import Criterion, CrossEntropy
from gradinc.core.criterion_setting import CriterionSetting
from gradinc.data.outputs import Outputs


def cross_entropy(targets: CriterionSetting, *, label_smoothing: Fraction = 0.0) -> Criterion:
    """Softmax cross-entropy, for classes

    With label smoothing and class weights the loss is PyTorch's.

    Args:
        label_smoothing: share of the target that is spread evenly over all outputs that count
            (Szegedy et al. 2016, arXiv 1512.00567).
    """
    targets.need_classes("cross_entropy")
    if label_smoothing == 0:
        return CrossEntropy(targets.outputs, targets.weights)
    return Smoothed(label_smoothing, targets.outputs, targets.weights)


class Smoothed(CrossEntropy):
    """Cross-entropy to smoothed targets.

    Args:
        smoothing: share of the target that is spread over the outputs that count.
        outputs, weights: as for `CrossEntropy`.
    """

    def __init__(self, smoothing: float, outputs: Outputs | None = None, weights: Tensor | None = None) -> None:
        super().__init__(outputs, weights)
        self.smoothing = smoothing

    def losses(self, logits: Tensor, y: Tensor) -> Tensor:
        counts = logits.isfinite()
        surprise = -logits.log_softmax(1)
        own = surprise.gather(1, y.view(-1, 1)).squeeze(1)
        others = surprise.masked_fill(~counts, 0.0)
        if (weights := self.weights_for(logits)) is not None:
            own, others = own * weights[y], others * weights
        return torch.lerp(own, others.sum(1) / counts.sum(1), self.smoothing)

    def summed(self, logits: Tensor, y: Tensor) -> Tensor:
        return self.losses(logits, y).sum()
