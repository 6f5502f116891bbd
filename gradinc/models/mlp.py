"""A multilayer perceptron."""

from __future__ import annotations

import math

import torch
from torch import nn

from gradinc.base.errors import UserError
from gradinc.config.values import Activation, Count, Decay, Finite, Init, Positive
from gradinc.models.layers import Residual, chain, initialise
from gradinc.models.layers import activation as activation_layer
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
    init_scale: Positive = 1.0,
    residual: bool = False,
    bias_init: Finite | None = None,
) -> nn.Module:
    """A multilayer perceptron: fully connected layers

    Args:
        width: units of each hidden layer.
        depth: number of hidden layers.
        activation: the function after each hidden layer.
        dropout: probability that a hidden unit is set to 0 in training.
        bias: whether the layers have offsets.
        init: the distribution of initial weights.
        init_scale: factor of all initial weights and offsets.
        residual: whether each hidden layer but the first adds its input to its result.
        bias_init: value of initial offsets, before init_scale; null leaves them to init.

    Raises:
        UserError: offsets are given a value, but the layers have none.
    """
    if bias_init is not None and not bias:
        what = "sets the offsets, but model.bias=false creates none"
        raise UserError(f"model.bias_init={bias_init:g}", what, "Leave out one of the two")
    layers: dict[str, nn.Module | None] = {"flatten": nn.Flatten()}
    inputs = math.prod(shape)
    for number in range(1, depth + 1):
        hidden = nn.Linear(inputs, width, bias=bias)
        if residual and number > 1:
            layers[f"hidden{number}"] = Residual(linear=hidden, activation=activation_layer(activation))
        else:
            layers[f"hidden{number}"] = hidden
            layers[f"activation{number}"] = activation_layer(activation)
        layers[f"dropout{number}"] = dropout_layer(dropout)
        inputs = width
    layers["output"] = nn.Linear(inputs, outputs, bias=bias)
    model = chain(**layers)
    initialise(model, init, activation)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if bias_init is not None and name.endswith("bias"):
                parameter.fill_(bias_init)
            parameter.mul_(init_scale)
    return model
