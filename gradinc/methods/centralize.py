r"""g − mean(g), unit by unit.

$$ g_u \leftarrow g_u - \mathrm{mean}(g_u) \quad \text{for each unit } u $$
"""

from __future__ import annotations

from torch import Tensor

from gradinc.core.method import Method
from gradinc.core.view import LearnerView


class Centralize(Method):
    """Subtract the mean from the gradient of every unit's weights

    Paper: Yong et al. 2020, arXiv 2004.01461
    Title: Gradient Centralization: A New Optimization Technique for Deep Neural Networks
    Authors: Hongwei Yong, Jianqiang Huang, Xiansheng Hua, Lei Zhang

    A unit is an output of a linear layer or a filter of a convolution: the mean covers all
    dimensions but the first. Biases and the gains of normalisation have one dimension and are not changed.
    """

    role = "layerwise"

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        for _, layer in learner.weights.layers(g):
            if layer.dim() > 1:
                layer.sub_(layer.mean(dim=tuple(range(1, layer.dim())), keepdim=True))
