"""Measures of a network's plasticity, for the lines of the log with ``diagnostics=true``.

``dormant_units``: the share of hidden units whose mean activation is below `DORMANT` times the mean of their layer
(Sokar et al. 2023, arXiv 2302.12902). ``effective_rank``: exp of the entropy of the singular values of the last hidden
layer's outputs, divided by their sum (Roy & Vetterli 2007, The effective rank). ``mean_weight``: the mean of |w| over
all trained weights. They are measured on the first rows of the task, in evaluation mode, by one forward pass that no
count of rows includes.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from gradinc.core.passes import Passes
from gradinc.core.weights import output_layer

DORMANT = 0.025

PROBED_ROWS = 64
"""Rows of the pass. The effective rank is at most this number."""

_OTHERS = (nn.Flatten, nn.Unflatten, nn.Identity, nn.modules.dropout._DropoutNd)
"""Layers without weights that are not activation functions."""


def plasticity(passes: Passes, x: Tensor) -> dict[str, float]:
    """Return the measures of the model with its current weights.

    Args:
        x: inputs, shape (rows, *shape).
    """
    active: list[Tensor] = []
    features: list[Tensor] = []
    model, output = passes.model, output_layer(passes.model)
    with ExitStack() as hooks, torch.no_grad(), passes.evaluation():
        for module in model.modules():
            if _is_activation(module):
                hooks.callback(module.register_forward_hook(lambda _, given, out: active.append(_units(out))).remove)
        if output is not None:
            layer = model.get_submodule(output)
            hooks.callback(layer.register_forward_pre_hook(lambda _, given: features.append(given[0])).remove)
        model(x)
    found = {"mean_weight": passes.weights.value.abs().mean()}
    if active:
        found["dormant_units"] = torch.cat([mean <= DORMANT * mean.mean() for mean in active]).double().mean()
    if features:
        found["effective_rank"] = _effective_rank(features[-1].flatten(0, -2))
    return dict(zip(found, torch.stack([value.double() for value in found.values()]).tolist(), strict=True))


def _is_activation(module: nn.Module) -> bool:
    if next(module.children(), None) is not None or next(module.parameters(), None) is not None:
        return False
    return not isinstance(module, _OTHERS) and "Pool" not in type(module).__name__


def _units(out: Tensor) -> Tensor:
    """Return the mean of |h| of each unit, shape (units,): channels of maps, or the last dimension."""
    return out.abs().mean((0, 2, 3) if out.dim() == 4 else tuple(range(out.dim() - 1)))


def _effective_rank(features: Tensor) -> Tensor:
    """Return the effective rank of a matrix, shape (rows, units), from its smaller matrix of products."""
    features = features.double()
    products = features @ features.T if len(features) <= features.shape[1] else features.T @ features
    values = torch.linalg.eigvalsh(products).clamp_min(0).sqrt()
    shares = values / values.sum().clamp_min(1e-300)
    return torch.special.entr(shares).sum().exp()
