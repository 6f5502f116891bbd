"""Normalisation layers at rest: their weights and statistics, which no projection of inputs can protect."""

from __future__ import annotations

from torch import nn

from gradinc.core.view import LearnerView

BATCH_NORMS = nn.modules.batchnorm._NormBase
NORMS = (BATCH_NORMS, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def norm_weights(learner: LearnerView) -> list[str]:
    """The names of the trainable weights of normalisations."""
    names = [
        f"{name}.{own}"
        for name, module in learner.model.named_modules()
        if isinstance(module, NORMS)
        for own, _ in module.named_parameters(recurse=False)
    ]
    return [name for name in learner.weights.names if name in set(names)]


def hold_statistics(model: nn.Module) -> None:
    """Let batch normalisation go by the statistics that it has, and gather no more, until the model's mode is set."""
    for module in model.modules():
        if isinstance(module, BATCH_NORMS):
            module.eval()
