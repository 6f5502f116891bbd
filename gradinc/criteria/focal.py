"""−(1 − p)^γ log p."""

from __future__ import annotations

from functools import partial

from torch import Tensor

from gradinc.config.values import NonNegative
from gradinc.core.criterion import ClassLoss, Criterion
from gradinc.core.criterion_setting import CriterionSetting


def focal(targets: CriterionSetting, *, gamma: NonNegative = 2.0) -> Criterion:
    """Focal loss: rows that are predicted well count less

    Paper: Lin et al. 2017, arXiv 1708.02002
    Title: Focal Loss for Dense Object Detection
    Authors: Tsung-Yi Lin, Priya Goyal, Ross Girshick, Kaiming He, Piotr Dollar

    The paper's α is ``criterion.class_weights``. With gamma 0 the loss is the cross-entropy.

    Args:
        gamma: power of the factor 1 − p, with p the predicted probability of the row's class.
    """
    targets.need_classes("focal")
    return ClassLoss(partial(_focal, gamma=gamma), targets.outputs, targets.weights)


def _focal(logits: Tensor, y: Tensor, gamma: float) -> Tensor:
    log_p = logits.log_softmax(1).gather(1, y.view(-1, 1)).squeeze(1)
    # 1 − p from log p, without cancellation; the derivative of a power below 1 is infinite at 0.
    rest = (-log_p.expm1()).clamp(min=1e-12)
    return -(rest**gamma) * log_p
