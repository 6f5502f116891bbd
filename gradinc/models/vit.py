"""A small vision transformer."""

from __future__ import annotations

import math

from torch import nn

from gradinc.base.errors import UserError
from gradinc.config.values import Count, Decay, Positive
from gradinc.data.torchvision_import import import_torchvision
from gradinc.models.layers import chain, image_shape


def vit(
    shape: tuple[int, ...],
    outputs: int,
    *,
    patch: Count = 4,
    width: Count = 64,
    depth: Count = 4,
    heads: Count = 4,
    mlp_ratio: Positive = 2.0,
    dropout: Decay = 0.0,
) -> nn.Module:
    """A small vision transformer (torchvision's)

    Paper: Dosovitskiy et al. 2021, arXiv 2010.11929
    Title: An Image is Worth 16x16 Words: Transformers for Image Recognition at Scale
    Authors: Alexey Dosovitskiy, Lucas Beyer, Alexander Kolesnikov, Dirk Weissenborn, Xiaohua Zhai, Thomas Unterthiner,
        Mostafa Dehghani, Matthias Minderer, Georg Heigold, Sylvain Gelly, Jakob Uszkoreit, Neil Houlsby

    Weights are drawn as torchvision draws them; the output layer starts from 0. Images whose sides
    are not equal, or not multiples of the patch, are padded with zeros below and to the right.

    Args:
        patch: side of the square patches that an image is cut into, in pixels.
        width: length of a patch's vector; a multiple of heads.
        depth: number of encoder blocks.
        heads: attention heads of each block.
        mlp_ratio: hidden units of each block's perceptron, in widths.
        dropout: probability that a value is set to 0 in training, after each layer but attention.

    Raises:
        UserError: the rows are not images, a patch is larger than an image, or the heads do not divide the width.
    """
    channels, height, breadth = image_shape(shape, "vit")
    if patch > max(height, breadth):
        what = f"a patch is larger than the images, {height}x{breadth}"
        raise UserError(f"model.patch={patch}", what, f"Use model.patch={max(1, min(height, breadth) // 4)}")
    if width % heads:
        what = f"does not divide model.width={width}"
        raise UserError(f"model.heads={heads}", what, f"Use model.width={math.ceil(width / heads) * heads}")
    side = math.ceil(max(height, breadth) / patch) * patch
    model = import_torchvision("models.vision_transformer").VisionTransformer(
        image_size=side,
        patch_size=patch,
        num_layers=depth,
        num_heads=heads,
        hidden_dim=width,
        mlp_dim=max(1, round(width * mlp_ratio)),
        dropout=dropout,
        num_classes=outputs,
    )
    if channels != 3:  # torchvision's class takes colour images only
        model.conv_proj = nn.Conv2d(channels, width, patch, patch)
        nn.init.trunc_normal_(model.conv_proj.weight, std=math.sqrt(1 / (channels * patch**2)))
        nn.init.zeros_(model.conv_proj.bias)
    if (height, breadth) == (side, side):
        return model
    return chain(pad=nn.ZeroPad2d((0, side - breadth, 0, side - height)), transformer=model)
