"""The usual loss for the kind of targets."""

from __future__ import annotations

from gradinc.core.criterion import Criterion, CrossEntropy, SquaredError
from gradinc.core.criterion_setting import CriterionSetting


def auto(targets: CriterionSetting) -> Criterion:
    """Cross-entropy for classes, the squared error for numbers"""
    return CrossEntropy(targets.outputs, targets.weights) if targets.classes else SquaredError()
