"""A convolutional network over a sequence of numbers."""

from __future__ import annotations

from torch import nn

from gradinc.config.values import Activation, Count, Init
from gradinc.models.layers import activation as activation_layer
from gradinc.models.layers import chain, initialise, signal_length


def cnn1d(
    shape: tuple[int, ...],
    outputs: int,
    *,
    width: Count = 25,
    kernels: list[Count] = [5, 3, 3],  # noqa: B006  (read, never changed)
    stride: Count = 2,
    activation: Activation = "relu",
    init: Init = "default",
) -> nn.Module:
    """Convolutions over a sequence of numbers, then a linear layer

    Paper: Greydanus & Kobak 2020, arXiv 2011.14439
    Title: Scaling Down Deep Learning with MNIST-1D
    Authors: Sam Greydanus, Dmitry Kobak

    Args:
        width: channels of every convolution.
        kernels: the length of each convolution's kernel; their number is the number of convolutions.
        stride: step of a kernel, in positions; one position is added at both ends.
        activation: the function after each convolution.
        init: the distribution of initial weights.
    """
    length, channels = signal_length(shape, "cnn1d"), 1
    layers: dict[str, nn.Module | None] = {"unflatten": nn.Unflatten(1, (1, length))}
    for number, kernel in enumerate(kernels, start=1):
        kernel = min(kernel, length + 2)
        layers[f"conv{number}"] = nn.Conv1d(channels, width, kernel, stride=stride, padding=1)
        layers[f"activation{number}"] = activation_layer(activation)
        length, channels = (length + 2 - kernel) // stride + 1, width
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(channels * length, outputs)
    model = chain(**layers)
    initialise(model, init, activation)
    return model
