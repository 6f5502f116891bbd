"""Parts of a model that are not trained: ``model.freeze``."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from torch import nn

from gradinc.base.errors import UserError
from gradinc.config.names import choose
from gradinc.core.normalization import BATCH_NORMS


def freeze(model: nn.Module, patterns: Sequence[str]) -> None:
    """Keep the weights of some layers at their initial values, or at the values that ``init`` loads.

    Batch normalisation in such a layer uses its stored statistics and does not change them.

    Args:
        patterns: names of layers or weights, with ``*`` for any text; a layer includes the layers inside it.

    Raises:
        UserError: a pattern fits nothing, or no weight is left to train.
    """
    modules = {name: module for name, module in model.named_modules() if name}
    weights = dict(model.named_parameters())
    for pattern in patterns:
        layers = [module for name, module in modules.items() if fnmatchcase(name, pattern)]
        own = [weight for name, weight in weights.items() if fnmatchcase(name, pattern)]
        if not own and not any(True for layer in layers for _ in layer.parameters()):
            names = [name for name, module in modules.items() if any(True for _ in module.parameters())]
            raise UserError(f"model.freeze=[{pattern}]", "the model has no such layer", choose(pattern, names))
        for weight in own:
            weight.requires_grad_(False)
        for layer in layers:
            layer.requires_grad_(False)
            _hold(layer)
    if not any(weight.requires_grad for weight in weights.values()):
        where = f"model.freeze=[{','.join(patterns)}]"
        raise UserError(where, "no weight is left to train", "Leave out the output layer, or another one")


def _hold(layer: nn.Module) -> None:
    """Keep batch normalisations in evaluation mode, also when the model's mode is set."""
    for module in layer.modules():
        if isinstance(module, BATCH_NORMS):
            module.eval()
            module.train = _unchanged  # type: ignore[method-assign,assignment]


def _unchanged(mode: bool = True) -> None:
    """Leave a module's mode as it is."""
