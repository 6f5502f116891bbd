"""Convolutions over embeddings of tokens, and the largest value of each map."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradinc.config.values import Count, Decay
from gradinc.data.text import Tokens
from gradinc.models.sequences import Embedded, check_labels, present


class _Convolutions(nn.Module):
    """Convolutions of several widths over a sequence, and the largest value of each of their maps.

    A row has as many windows as tokens: the first ones begin before the row, at zeros. Windows that begin after the
    last token do not count, so a row has the same values next to rows of any length.
    """

    rowwise = True

    def __init__(self, inputs: int, maps: int, widths: list[int]) -> None:
        super().__init__()
        self.widths = widths
        self.maps = nn.ModuleList(nn.Conv1d(inputs, maps, width) for width in widths)

    def forward(self, vectors: Tensor, counts: Tensor) -> Tensor:
        x = vectors.mT
        found = []
        for width, layer in zip(self.widths, self.maps, strict=True):
            out = F.relu(layer(F.pad(x, ((width - 1) // 2, width // 2))))
            found.append((out * counts.unsqueeze(1)).amax(2))  # values are 0 or more
        return torch.cat(found, 1)


class _TokenCNN(nn.Module):
    rowwise = True

    def __init__(self, text: Tokens, width: int, maps: int, widths: list[int], dropout: float, outputs: int) -> None:
        super().__init__()
        self.embedding = Embedded(text.tokens, width)
        self.convolutions = _Convolutions(width, maps, widths)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(maps * len(widths), outputs)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.output(self.dropout(self.convolutions(self.embedding(x), present(x))))
        return out


def text_cnn(
    shape: tuple[int, ...],
    outputs: int,
    text: Tokens,
    *,
    width: Count = 128,
    maps: Count = 100,
    kernels: list[Count] = [3, 4, 5],  # noqa: B006  (read, never changed)
    dropout: Decay = 0.5,
) -> nn.Module:
    """Convolutions over vectors of tokens, and the largest value of each map

    Paper: Kim 2014, arXiv 1408.5882
    Title: Convolutional Neural Networks for Sentence Classification
    Authors: Yoon Kim

    Vectors of tokens begin at random and are trained, as in the paper's CNN-rand. The largest values of all maps are
    the input of one linear layer, after dropout.

    Args:
        width: length of a token's vector.
        maps: number of maps of each convolution.
        kernels: widths of the convolutions, in tokens.
        dropout: probability of dropout before the last layer.

    Raises:
        UserError: the targets of the rows are tokens.
    """
    check_labels("text_cnn", text)
    return _TokenCNN(text, width, maps, kernels, dropout, outputs)
