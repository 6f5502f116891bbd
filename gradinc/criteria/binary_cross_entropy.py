"""−Σ q log σ(z) + (1 − q) log(1 − σ(z)), with q 1 for the class."""

from __future__ import annotations

from gradinc.core.criterion import BinaryCrossEntropy, Criterion
from gradinc.core.criterion_setting import CriterionSetting


def binary_cross_entropy(targets: CriterionSetting) -> Criterion:
    """Each output on its own: its class against all others

    The mean over the outputs that count; ``stream.train_logits=seen`` leaves out classes that have not come yet.
    """
    targets.need_classes("binary_cross_entropy")
    return BinaryCrossEntropy(targets.outputs, targets.weights)
