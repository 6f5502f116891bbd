"""Residual convolutions over time, for spectrograms."""

from __future__ import annotations

from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.config.values import Activation, Decay, Init, Norm, Positive
from gradinc.models.layers import activation as activation_layer
from gradinc.models.layers import chain, initialise
from gradinc.models.layers import dropout as dropout_layer
from gradinc.models.layers import norm as norm_layer

_CHANNELS = (16, 24, 32, 48)


def tc_resnet8(
    shape: tuple[int, ...],
    outputs: int,
    *,
    width: Positive = 1.0,
    activation: Activation = "relu",
    norm: Norm = "batch",
    dropout: Decay = 0.5,
    init: Init = "default",
) -> nn.Module:
    """TC-ResNet8: residual convolutions over the time of a spectrogram

    Paper: Choi et al. 2019, arXiv 1904.03814
    Title: Temporal Convolution for Real-time Keyword Spotting on Mobile Devices
    Authors: Seungwoo Choi, Seokjun Seo, Beomjun Shin, Hyeongmin Byun, Martin Kersner, Beomsu Kim, Dongyoung Kim,
        Sungjoo Ha

    The bands are channels. After a convolution of length 3 there are three blocks of two convolutions of
    length 9; each block halves the time.

    Args:
        width: factor of the channels 16, 24, 32 and 48.
        activation: the function after each convolution.
        norm: the normalisation after each convolution; batch makes accumulation differ from a large batch.
        dropout: probability that an input of the output layer is set to 0 in training.
        init: the distribution of initial weights.

    Raises:
        UserError: the rows are not spectrograms.
    """
    if len(shape) != 2:
        size = "x".join(str(length) for length in shape)
        what = f"needs spectrograms (bands, frames), but a row of this data has shape {size}"
        raise UserError("model=tc_resnet8", what, "Use data=fsdd or data=audio_folder, or another model")
    first, *others = (max(1, int(channels * width)) for channels in _CHANNELS)
    layers: dict[str, nn.Module | None] = {
        "conv": _convolution(shape[0], first, 3, 1, norm),
        "norm": norm_layer(norm, first, dims=1),
        "activation": activation_layer(activation),
    }
    inputs = first
    for number, maps in enumerate(others, start=1):
        layers[f"block{number}"] = TemporalBlock(inputs, maps, activation, norm)
        inputs = maps
    layers["pool"] = nn.AdaptiveAvgPool1d(1)
    layers["flatten"] = nn.Flatten()
    layers["dropout"] = dropout_layer(dropout)
    layers["output"] = nn.Linear(inputs, outputs)
    model = chain(**layers)
    initialise(model, init, activation)
    return model


class TemporalBlock(nn.Module):
    """Two convolutions of length 9, whose result is added to the input after a convolution of length 1.

    Args:
        inputs: channels in.
        outputs: channels out.
        activation: function after each convolution; for the second one, after the sum.
        norm: normalisation after each convolution.
    """

    rowwise = True

    def __init__(self, inputs: int, outputs: int, activation: Activation, norm: Norm) -> None:
        super().__init__()
        self.residual = chain(
            conv1=_convolution(inputs, outputs, 9, 2, norm),
            norm1=norm_layer(norm, outputs, dims=1),
            activation=activation_layer(activation),
            conv2=_convolution(outputs, outputs, 9, 1, norm),
            norm2=norm_layer(norm, outputs, dims=1),
        )
        self.shortcut = chain(
            conv=_convolution(inputs, outputs, 1, 2, norm),
            norm=norm_layer(norm, outputs, dims=1),
            activation=activation_layer(activation),
        )
        self.activation = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.activation(self.residual(x) + self.shortcut(x))
        return out


def _convolution(inputs: int, outputs: int, size: int, stride: int, norm: Norm) -> nn.Conv1d:
    # A normalisation has its own offset.
    return nn.Conv1d(inputs, outputs, size, stride, padding=size // 2, bias=norm == "none")
