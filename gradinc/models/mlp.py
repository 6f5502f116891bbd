"""A multilayer perceptron."""

from __future__ import annotations

import math

import torch
from torch import nn

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Decay, Finite, Init, Norm, Positive, WideActivation
from gradinc.models.layers import Residual, chain, initialise
from gradinc.models.layers import activation as activation_layer
from gradinc.models.layers import dropout as dropout_layer
from gradinc.models.layers import norm as norm_layer


def mlp(
    shape: tuple[int, ...],
    outputs: int,
    *,
    width: Count = 256,
    depth: Count = 2,
    activation: WideActivation = "relu",
    norm: Norm = "none",
    norm_output: bool = False,
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
        activation: the function after each hidden layer; crelu doubles the inputs of the next layer.
        norm: the normalisation between a hidden layer and its activation; batch makes accumulation differ from a large
            batch.
        norm_output: whether the outputs are normalised, too.
        dropout: probability that a hidden unit is set to 0 in training.
        bias: whether the layers have offsets.
        init: the distribution of initial weights.
        init_scale: factor of all initial weights and offsets.
        residual: whether each hidden layer but the first adds its input to its result.
        bias_init: value of initial offsets, before init_scale; null leaves them to init.

    Raises:
        UserError: offsets are given a value, but the layers have none; only the outputs would be normalised; or a
            layer would add its input to a result of twice the width.
    """
    if bias_init is not None and not bias:
        what = "sets the offsets, but model.bias=false creates none"
        raise UserError(f"model.bias_init={bias_init:g}", what, "Leave out one of the two")
    if norm_output and norm == "none":
        raise UserError("model.norm_output=true", "model.norm=none chooses no normalisation", "Use model.norm=batch")
    if residual and activation == "crelu":
        what = "adds the input of a layer to its result, which is twice as wide with model.activation=crelu"
        raise UserError("model.residual=true", what, "Use another activation, or model.residual=false")
    layers: dict[str, nn.Module | None] = {"flatten": nn.Flatten()}
    inputs = math.prod(shape)
    for number in range(1, depth + 1):
        hidden = nn.Linear(inputs, width, bias=bias)
        own: dict[str, nn.Module | None] = {
            "hidden": hidden,
            "norm": norm_layer(norm, width, dims=0),
            "activation": activation_layer(activation),
        }
        if residual and number > 1:
            layers[f"hidden{number}"] = Residual(linear=own.pop("hidden"), **own)
        else:
            layers |= {f"{name}{number}": layer for name, layer in own.items()}
        layers[f"dropout{number}"] = dropout_layer(dropout)
        inputs = 2 * width if activation == "crelu" else width
    layers["output"] = nn.Linear(inputs, outputs, bias=bias)
    layers["output_norm"] = norm_layer(norm, outputs, dims=0) if norm_output else None
    model = chain(**layers)
    initialise(model, init, activation)
    with torch.no_grad():
        for layer in (module for module in model.modules() if isinstance(module, nn.Linear)):
            for name, parameter in layer.named_parameters():
                if bias_init is not None and name == "bias":
                    parameter.fill_(bias_init)
                parameter.mul_(init_scale)
    return model
