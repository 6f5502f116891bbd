r"""Clipping by the ratio of gradient to weight, unit by unit.

$$ g_u \leftarrow g_u \cdot \min\left(1,\; r\, \frac{\max(\lVert w_u\rVert, \epsilon)}{\lVert g_u\rVert}\right) \quad
\text{for each unit } u $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Positive
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.core.weights import output_layer


class AGC(Method):
    """Bound the norm of every unit's gradient by a share of its weights' norm

    Paper: Brock et al. 2021, arXiv 2102.06171
    Title: High-Performance Large-Scale Image Recognition Without Normalization
    Authors: Andrew Brock, Soham De, Samuel L. Smith, Karen Simonyan
    Neutral: ratio=inf

    A unit is an output of a linear layer or a filter of a convolution; a bias vector is one unit.
    The head, which is the model's last linear layer, is not clipped.

    Args:
        ratio: greatest ratio of a unit's gradient norm to its weights' norm; inf for no bound.
        eps: lower bound of a unit's weights' norm in this ratio, so that weights of 0 can move.
    """

    role = "layerwise"

    def __init__(self, *, ratio: Positive = 0.01, eps: Positive = 1e-3) -> None:
        self.ratio, self.eps = ratio, eps

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        weights, head = learner.weights, output_layer(learner.model)
        least = torch.finfo(g.dtype).tiny
        for (name, gradient), value in zip(weights.layers(g), weights.views(weights.value), strict=True):
            if name.rpartition(".")[0] != head:
                greatest = self.ratio * _norms(value).clamp(min=self.eps)
                gradient.mul_((greatest / _norms(gradient).clamp(min=least)).clamp(max=1))


def _norms(layer: Tensor) -> Tensor:
    """Return the norm of each unit of a layer, in a shape that broadcasts over the layer."""
    return torch.linalg.vector_norm(layer, dim=tuple(range(min(1, layer.dim() - 1), layer.dim())), keepdim=True)
