"""A small convolutional network."""

from __future__ import annotations

from torch import nn

from gradinc.config.values import Count, Decay, Init, Norm, Whole, WideActivation
from gradinc.models.layers import activation as activation_layer
from gradinc.models.layers import chain, image_shape, initialise
from gradinc.models.layers import dropout as dropout_layer
from gradinc.models.layers import norm as norm_layer


def cnn(
    shape: tuple[int, ...],
    outputs: int,
    *,
    width: Count = 32,
    depth: Count = 2,
    hidden: Whole = 256,
    activation: WideActivation = "relu",
    norm: Norm = "none",
    dropout: Decay = 0.0,
    init: Init = "default",
) -> nn.Module:
    """Blocks of 3x3 convolution and 2x2 max-pooling, then a hidden layer

    Args:
        width: channels of the first block; each further block has twice as many.
        depth: number of blocks; each halves height and width while they are above 1.
        hidden: units of the fully connected layer between the blocks and the output layer, 0 for none.
        activation: the function after each block and after the hidden layer; crelu gives the next layer twice as many
            inputs.
        norm: the normalisation after each convolution; batch makes accumulation differ from a large batch.
        dropout: probability that an input of the output layer is set to 0 in training.
        init: the distribution of initial weights.
    """
    channels, height, breadth = image_shape(shape, "cnn")
    doubled = activation == "crelu"
    layers: dict[str, nn.Module | None] = {}
    for number in range(1, depth + 1):
        maps = width * 2 ** (number - 1)
        layers[f"conv{number}"] = nn.Conv2d(channels, maps, 3, padding=1, bias=norm == "none")
        layers[f"norm{number}"] = norm_layer(norm, maps)
        # Pooling before the activation leaves a quarter of the values to activate. The result is the same
        # for every activation that never decreases; half of the channels of crelu decrease.
        stride = (min(2, height), min(2, breadth))
        pool = (f"pool{number}", nn.MaxPool2d(stride) if stride != (1, 1) else None)
        active = (f"activation{number}", activation_layer(activation))
        layers |= dict((active, pool) if doubled else (pool, active))
        height, breadth = max(1, height // 2), max(1, breadth // 2)
        channels = 2 * maps if doubled else maps
    layers["flatten"] = nn.Flatten()
    features = channels * height * breadth
    if hidden:
        layers["hidden"] = nn.Linear(features, hidden)
        layers["activation"] = activation_layer(activation)
        features = 2 * hidden if doubled else hidden
    layers["dropout"] = dropout_layer(dropout)
    layers["output"] = nn.Linear(features, outputs)
    model = chain(**layers)
    initialise(model, init, activation)
    return model
