"""Exemplars of a class whose mean is near the class's mean, and the classifier by the nearest mean."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from gradinc.core.weights import output_layer

UNSEEN = -8.0
"""Score of a class without exemplars: minus twice the largest squared distance of two unit vectors."""

FEATURES_TOGETHER = 512
"""Rows of a forward pass whose features are computed outside the training."""


@contextmanager
def last_features(model: nn.Module) -> Iterator[list[Tensor]]:
    """Record the inputs of the output layer in every forward pass inside, shape (rows, units)."""
    found: list[Tensor] = []
    name = output_layer(model)
    assert name is not None
    hook = model.get_submodule(name).register_forward_pre_hook(lambda _, given: found.append(given[0].flatten(1)))
    try:
        yield found
    finally:
        hook.remove()


def herded(features: Tensor, count: int) -> Tensor:
    """Return the numbers of rows whose running means stay as near as possible to the mean of all rows, in order.

    Paper: Rebuffi et al. 2017, arXiv 1611.07725, algorithm 4

    Args:
        features: shape (rows, units).
        count: rows to choose, at most the number of rows.
    """
    mean, total = features.mean(0), torch.zeros_like(features[0])
    free = torch.ones(len(features), dtype=torch.bool, device=features.device)
    chosen = []
    for number in range(1, min(count, len(features)) + 1):
        distance = (mean - (total + features) / number).square().sum(1)
        best = distance.masked_fill(~free, torch.inf).argmin()
        total, free[best] = total + features[best], False
        chosen.append(best)
    return torch.stack(chosen) if chosen else torch.zeros(0, dtype=torch.int64, device=features.device)


def nearest_mean(model: nn.Module, x: Tensor, y: Tensor, outputs: int) -> Callable[[Tensor], Tensor]:
    """Return a function from inputs to minus the squared distance to the mean of each class, shape (rows, outputs).

    Features and means have length 1. The means are computed in the first call, with the weights and the mode of that
    moment.

    Args:
        x, y: the exemplars and their classes.
        outputs: number of classes.
    """
    means: list[Tensor] = []

    def scores(inputs: Tensor) -> Tensor:
        with last_features(model) as found:
            if not means:
                for part in x.split(FEATURES_TOGETHER):
                    model(part)
                sums = torch.zeros(outputs, found[0].shape[1], dtype=found[0].dtype, device=x.device)
                means.append(normalize(sums.index_add_(0, y, normalize(torch.cat(found)))))
                found.clear()
            model(inputs)
        distances = (normalize(found[0])[:, None] - means[0]).square().sum(2)
        known = torch.zeros(outputs, dtype=torch.bool, device=x.device).index_fill_(0, y, True)
        return torch.where(known, -distances, UNSEEN)

    return scores
