"""An old state of the model that teaches the model on new data."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


def remembered(learner: LearnerView) -> list[Tensor]:
    """Return a copy of the model's current state: its weights, shape (P,), and its buffers."""
    return [each.clone() for each in _present(learner)]


@torch.no_grad()
def taught(teacher: list[Tensor], rows: Batch, learner: LearnerView) -> Tensor:
    """Return an old model's outputs for rows in evaluation mode, shape (rows, outputs).

    Args:
        teacher: the result of `remembered`.
    """
    present = _present(learner)
    now = [each.clone() for each in present]
    torch._foreach_copy_(present, teacher)
    outputs = learner.outputs(rows)
    torch._foreach_copy_(present, now)
    return outputs


def _present(learner: LearnerView) -> list[Tensor]:
    return [learner.weights.value, *learner.model.buffers()]
