"""Functions shared by the models: activations and normalisations by name, and initial weights."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from gradinc.base.errors import UserError
from gradinc.config.values import Init, Norm, WideActivation

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d


class CReLU(nn.Module):
    """Concatenated ReLU: max(x, 0) of all channels, then max(−x, 0) of all channels.

    Paper: Shang et al. 2016, arXiv 1603.05201
    """

    rowwise = True
    copies = 2
    """How often each channel occurs in the output, for methods that follow a unit to the next layer."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat((x, -x), 1).relu()


_ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "crelu": CReLU,
    "leaky_relu": nn.LeakyReLU,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
    "elu": nn.ELU,
    "selu": nn.SELU,
    "softplus": nn.Softplus,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "identity": nn.Identity,
}

# The gain compensates the change of variance by an activation. PyTorch defines it for some; the
# smooth relatives of ReLU have about the gain of ReLU.
_GAINS: dict[str, float] = {
    "leaky_relu": math.sqrt(2 / (1 + 0.01**2)),
    "selu": 3 / 4,
    "tanh": 5 / 3,
    "sigmoid": 1.0,
    "identity": 1.0,
}
_RELU_GAIN = math.sqrt(2)

# Standard deviation of a standard normal cut off at two standard deviations.
_CUT_AT_TWO = 0.87962566103423978


def activation(name: WideActivation) -> nn.Module:
    """Return the activation function of this name, as a module without weights."""
    return _ACTIVATIONS[name]()


def norm(name: Norm, channels: int, *, dims: Literal[0, 1, 2] = 2) -> nn.Module | None:
    """Return the normalisation of this name for `channels` channels; None for ``none``.

    Layer normalisation (Ba et al. 2016, arXiv 1607.06450) of maps is group normalisation with one group: it has one
    weight and one offset for each channel. Group normalisation has 32 groups (Wu & He 2018, arXiv 1803.08494), or fewer
    if a group would otherwise have fewer than 4 channels: with one channel per group a 1x1 map would always become 0.

    Args:
        dims: dimensions of a channel: 2 for a map (rows, channels, height, width), 1 for a sequence, 0 for one number.
    """
    if name == "none":
        return None
    if name == "batch":
        return nn.BatchNorm2d(channels) if dims == 2 else nn.BatchNorm1d(channels)
    if name == "layer":
        return nn.GroupNorm(1, channels) if dims else nn.LayerNorm(channels)
    groups = max(n for n in range(1, 33) if channels % n == 0 and (n == 1 or channels // n >= 4))
    return nn.GroupNorm(groups, channels)


def dropout(probability: float) -> nn.Module | None:
    """Return dropout of this probability; None for 0, so that a model without dropout has no such module."""
    return nn.Dropout(probability) if probability else None


def chain(**layers: nn.Module | None) -> nn.Sequential:
    """Return the layers in sequence, under their names; layers that are None are left out."""
    return nn.Sequential(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))


class Residual(nn.Sequential):
    """Layers in sequence, whose result is added to their input.

    Args:
        layers: under their names; layers that are None are left out.
    """

    rowwise = True

    def __init__(self, **layers: nn.Module | None) -> None:
        super().__init__(OrderedDict((name, layer) for name, layer in layers.items() if layer is not None))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input + super().forward(input)


@torch.no_grad()
def initialise(model: nn.Module, law: Init, name: WideActivation) -> None:
    """Draw the weights of all linear and convolutional layers anew and set their biases to 0.

    With fan_in and fan_out the numbers of inputs of one output and of outputs of one input, and g the
    activation's gain (1 for the last layer, which has none), the distributions are

    - ``default``: PyTorch's own for each layer, which is not changed;
    - ``xavier``: uniform with variance g² · 2 / (fan_in + fan_out) (Glorot & Bengio 2010);
    - ``xavier_plain``: the same with g = 1 everywhere;
    - ``kaiming``: normal with variance g² / fan_in (He et al. 2015, arXiv 1502.01852);
    - ``orthogonal``: a random orthogonal matrix times g (Saxe et al. 2013, arXiv 1312.6120);
    - ``truncated_normal``: normal with variance g² / fan_in, cut off at two standard deviations;
    - a number: normal with this standard deviation, cut off at two standard deviations, for every layer.

    Args:
        model: its layers in the order of ``model.modules()``; the last one is the output layer.
        law: the distribution.
        name: the activation between the layers.
    """
    if law == "default":
        return
    layers = [m for m in model.modules() if isinstance(m, (nn.Linear, Conv))]
    for layer in layers:
        gain = 1.0 if layer is layers[-1] else _GAINS.get(name, _RELU_GAIN)
        if isinstance(law, str):
            _LAWS[law](layer.weight, gain)
        else:
            nn.init.trunc_normal_(layer.weight, std=law, a=-2 * law, b=2 * law)
        if layer.bias is not None:
            layer.bias.zero_()


def _xavier(weight: torch.Tensor, gain: float) -> None:
    nn.init.xavier_uniform_(weight, gain)


def _xavier_plain(weight: torch.Tensor, gain: float) -> None:
    nn.init.xavier_uniform_(weight)


def _kaiming(weight: torch.Tensor, gain: float) -> None:
    nn.init.normal_(weight, std=gain / math.sqrt(weight[0].numel()))


def _orthogonal(weight: torch.Tensor, gain: float) -> None:
    nn.init.orthogonal_(weight, gain)


def _truncated_normal(weight: torch.Tensor, gain: float) -> None:
    std = gain / math.sqrt(weight[0].numel()) / _CUT_AT_TWO
    nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)


_LAWS: dict[str, Callable[[torch.Tensor, float], None]] = {
    "xavier": _xavier,
    "xavier_plain": _xavier_plain,
    "kaiming": _kaiming,
    "orthogonal": _orthogonal,
    "truncated_normal": _truncated_normal,
}


def image_shape(shape: tuple[int, ...], model: str) -> tuple[int, int, int]:
    """The shape of an image as (channels, height, width).

    Raises:
        UserError: the rows are not images.
    """
    if len(shape) != 3:
        what = f"needs images (channels, height, width), but a row of this data has shape {_text(shape)}"
        raise UserError(f"model={model}", what, "Use model=mlp or model=linear, or image data")
    channels, height, width = shape
    return channels, height, width


def signal_length(shape: tuple[int, ...], model: str) -> int:
    """Return the number of values in a row that is a sequence of numbers.

    Raises:
        UserError: the rows are something else, such as images.
    """
    if len(shape) != 1:
        what = f"needs sequences of numbers, but a row of this data has shape {_text(shape)}"
        raise UserError(f"model={model}", what, "Use data=mnist1d or data=modular, or another model")
    return shape[0]


def _text(shape: tuple[int, ...]) -> str:
    return "x".join(str(size) for size in shape) or "()"
