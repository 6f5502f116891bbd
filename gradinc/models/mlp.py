"""A multilayer perceptron."""

from __future__ import annotations

import math

from torch import nn

from gradinc.config.values import Activation, Count, Decay, Init
from gradinc.models.layers import activation as activation_layer
from gradinc.models.layers import chain, initialise
from gradinc.models.layers import dropout as dropout_layer


def mlp(
    shape: tuple[int, ...],
    outputs: int,
    *,
    width: Count = 256,
    depth: Count = 2,
    activation: Activation = "relu",
    dropout: Decay = 0.0,
    bias: bool = True,
    init: Init = "default",
) -> nn.Module:
    """A multilayer perceptron: fully connected layers

    Args:
        width: units of each hidden layer.
        depth: number of hidden layers.
        activation: the function after each hidden layer.
        dropout: probability that a hidden unit is left out in training.
        bias: whether the layers have offsets.
        init: the law of fresh weights.
    """
    layers: dict[str, nn.Module | None] = {"flatten": nn.Flatten()}
    inputs = math.prod(shape)
    for number in range(1, depth + 1):
        layers[f"hidden{number}"] = nn.Linear(inputs, width, bias=bias)
        layers[f"activation{number}"] = activation_layer(activation)
        layers[f"dropout{number}"] = dropout_layer(dropout)
        inputs = width
    layers["output"] = nn.Linear(inputs, outputs, bias=bias)
    model = chain(**layers)
    initialise(model, init, activation)
    return model
