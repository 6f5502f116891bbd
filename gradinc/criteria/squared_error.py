"""Mean over outputs of (ŷ − y)²."""

from __future__ import annotations

from gradinc.core.criterion import Criterion, OneHotError, SquaredError
from gradinc.core.criterion_setting import CriterionSetting


def squared_error(targets: CriterionSetting) -> Criterion:
    """The squared error; with classes to 1 for the class and 0 for the others"""
    return OneHotError(targets.outputs, targets.weights) if targets.classes else SquaredError()
