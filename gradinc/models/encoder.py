"""A small transformer over tokens, for one target of a row."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradinc.config.values import Count, Decay
from gradinc.data.text import Tokens
from gradinc.models.layers import Residual
from gradinc.models.sequences import check_heads, check_labels, mean_of, numbers, present


class _Attention(nn.Module):
    """Self-attention among the tokens of a row; padding is not seen.

    Args:
        width: length of a token's vector.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm, self.heads = nn.LayerNorm(width), heads
        self.project, self.merge = nn.Linear(width, 3 * width), nn.Linear(width, width)
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Tensor, counts: Tensor) -> Tensor:
        rows, length, width = x.shape
        parts = self.project(self.norm(x)).view(rows, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        # A row without tokens sees its first position: the softmax of nothing would be NaN.
        seen = (counts | (counts.sum(1, keepdim=True) == 0))[:, None, None]
        mixed = F.scaled_dot_product_attention(parts[0], parts[1], parts[2], attn_mask=seen)
        out: Tensor = x + self.merge(mixed.transpose(1, 2).reshape(rows, length, width))
        return out


class _TokenTransformer(nn.Module):
    """Vectors of tokens and positions, blocks, and the mean over the tokens."""

    def __init__(
        self, length: int, text: Tokens, width: int, depth: int, heads: int, dropout: float, outputs: int
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(text.tokens, width)
        self.positions = nn.Parameter(torch.randn(length, width) / width**0.5)
        self.attention = nn.ModuleList(_Attention(width, heads) for _ in range(depth))
        self.perceptrons = nn.ModuleList(
            Residual(
                norm=nn.LayerNorm(width), expand=nn.Linear(width, 4 * width), act=nn.GELU(),
                contract=nn.Linear(4 * width, width),
            )
            for _ in range(depth)
        )  # fmt: skip
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.output = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        counts = present(x)
        states = self.dropout(self.tokens(numbers(x)) + self.positions[: x.shape[1]])
        for attention, perceptron in zip(self.attention, self.perceptrons, strict=True):
            states = perceptron(attention(states, counts))
        out: Tensor = self.output(self.dropout(mean_of(self.norm(states), counts)))
        return out


def encoder(
    shape: tuple[int, ...],
    outputs: int,
    text: Tokens,
    *,
    width: Count = 128,
    depth: Count = 2,
    heads: Count = 4,
    dropout: Decay = 0.1,
) -> nn.Module:
    """A small transformer over tokens, read as the mean over a row's tokens

    Paper: Vaswani et al. 2017, arXiv 1706.03762, its encoder, with the norm before each layer
    Title: Attention Is All You Need
    Authors: Ashish Vaswani, Noam Shazeer, Niki Parmar, Jakob Uszkoreit, Llion Jones, Aidan N. Gomez, Lukasz Kaiser,
        Illia Polosukhin

    Args:
        width: length of a token's vector; a multiple of heads.
        depth: number of blocks.
        heads: attention heads of each block.
        dropout: probability of dropout after the vectors and before the last layer.

    Raises:
        UserError: the heads do not divide the width, or the targets of the rows are tokens.
    """
    check_heads(width, heads)
    check_labels("encoder", text)
    return _TokenTransformer(shape[0], text, width, depth, heads, dropout, outputs)
