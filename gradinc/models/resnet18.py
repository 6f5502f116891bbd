"""ResNet-18 for small images."""

from __future__ import annotations

from torch import Tensor, nn

from gradinc.config.values import Activation, Count, Init, Norm
from gradinc.models.layers import activation as activation_layer
from gradinc.models.layers import chain, image_shape, initialise
from gradinc.models.layers import norm as norm_layer


def resnet18(
    shape: tuple[int, ...],
    outputs: int,
    *,
    width: Count = 64,
    activation: Activation = "relu",
    norm: Norm = "batch",
    init: Init = "default",
) -> nn.Module:
    """ResNet-18 with a stem for small images: one 3x3 convolution, no pooling

    Paper: He et al. 2016, arXiv 1512.03385
    Title: Deep Residual Learning for Image Recognition
    Authors: Kaiming He, Xiangyu Zhang, Shaoqing Ren, Jian Sun

    Args:
        width: channels of the first of four stages; each further stage has twice as many.
        activation: the function after each convolution.
        norm: the normalisation after each convolution; batch makes accumulation differ from a large batch.
        init: the distribution of initial weights.
    """
    channels, _, _ = image_shape(shape, "resnet18")
    layers: dict[str, nn.Module | None] = {
        "conv": _convolution(channels, width, 3, 1, norm),
        "norm": norm_layer(norm, width),
        "activation": activation_layer(activation),
    }
    for stage in range(4):
        inputs, maps = width * 2 ** max(0, stage - 1), width * 2**stage
        layers[f"stage{stage + 1}"] = nn.Sequential(
            Block(inputs, maps, 1 if stage == 0 else 2, activation, norm), Block(maps, maps, 1, activation, norm)
        )
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["flatten"] = nn.Flatten()
    layers["output"] = nn.Linear(width * 8, outputs)
    model = chain(**layers)
    initialise(model, init, activation)
    return model


class Block(nn.Module):
    """Two 3x3 convolutions whose result is added to the input, after a 1x1 convolution if shapes differ.

    Args:
        inputs: channels in.
        outputs: channels out.
        stride: stride of the first convolution.
        activation: function after the first convolution and after the sum.
        norm: normalisation after each convolution.
    """

    rowwise = True

    def __init__(self, inputs: int, outputs: int, stride: int, activation: Activation, norm: Norm) -> None:
        super().__init__()
        self.residual = chain(
            conv1=_convolution(inputs, outputs, 3, stride, norm),
            norm1=norm_layer(norm, outputs),
            activation=activation_layer(activation),
            conv2=_convolution(outputs, outputs, 3, 1, norm),
            norm2=norm_layer(norm, outputs),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = (
            None if same else chain(conv=_convolution(inputs, outputs, 1, stride, norm), norm=norm_layer(norm, outputs))
        )
        self.activation = activation_layer(activation)

    def forward(self, x: Tensor) -> Tensor:
        carried = x if self.shortcut is None else self.shortcut(x)
        out: Tensor = self.activation(self.residual(x) + carried)
        return out


def _convolution(inputs: int, outputs: int, size: int, stride: int, norm: Norm) -> nn.Conv2d:
    # A normalisation has its own offset.
    return nn.Conv2d(inputs, outputs, size, stride, padding=size // 2, bias=norm == "none")
