"""Normalisation layers that stay unchanged: projections of inputs cannot protect their weights and statistics."""

from __future__ import annotations

from torch import nn

from gradinc.core.view import LearnerView

BATCH_NORMS = nn.modules.batchnorm._NormBase
NORMS = (BATCH_NORMS, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def norm_weights(learner: LearnerView) -> list[str]:
    """Return the names of the normalisations' trainable weights."""
    names = [
        f"{name}.{own}"
        for name, module in learner.model.named_modules()
        if isinstance(module, NORMS)
        for own, _ in module.named_parameters(recurse=False)
    ]
    return [name for name in learner.weights.names if name in set(names)]


def hold_statistics(model: nn.Module) -> None:
    """Make batch normalisation use its current statistics, without updates, until the model's mode is set."""
    for module in model.modules():
        if isinstance(module, BATCH_NORMS):
            module.eval()
