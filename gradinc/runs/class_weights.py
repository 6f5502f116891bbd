"""Weights of classes from the training rows: ``criterion.class_weights=balanced``."""

from __future__ import annotations

from dataclasses import replace

import torch

from gradinc.config.schema import CriterionSection
from gradinc.data.stream import Stream


def with_class_weights(criterion: CriterionSection, stream: Stream) -> CriterionSection:
    """Return the section with numbers for ``balanced``: n / (C nᶜ), as in scikit-learn.

    n is the number of training rows of all tasks, nᶜ the number with class c, and C the number of classes that occur.
    The weights are the same in all tasks: in tasks with separate classes, the classes of a task are balanced as they
    would be by weights of the task alone, because a window divides by the sum of its weights.
    """
    if criterion.class_weights != "balanced" or not stream.setting.classes:
        return criterion
    counts = torch.zeros(stream.setting.outputs, dtype=torch.float64)
    for task in stream:
        for y in task.train.targets():
            counts += torch.bincount(y.cpu(), minlength=len(counts))
    weights = torch.where(counts > 0, counts.sum() / ((counts > 0).sum() * counts), 1.0)
    return replace(criterion, class_weights=tuple(weights.tolist()))
