"""A small causal transformer over tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.config.values import Count
from gradinc.models.layers import signal_length


class _Block(nn.Module):
    """Causal self-attention and a perceptron with one hidden layer.

    Args:
        width: length of a token's vector.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.heads = heads
        self.project = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        # Initial weights as in PyTorch's own attention.
        nn.init.xavier_uniform_(self.project.weight)
        nn.init.zeros_(self.project.bias)
        nn.init.zeros_(self.merge.bias)

    def forward(self, x: Tensor) -> Tensor:
        # The attention is added to the normalised input, as in the network of the published results.
        x = self.norm1(x)
        rows, length, width = x.shape
        parts = self.project(x).view(rows, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
        x = x + self.merge(seen.transpose(1, 2).reshape(rows, length, width))
        out: Tensor = x + self.contract(nn.functional.gelu(self.expand(self.norm2(x))))
        return out


class _CausalTransformer(nn.Module):
    """Embeddings of tokens and positions, blocks, and the outputs at the last position.

    Args:
        length: tokens of a row.
        tokens: number of different tokens.
    """

    def __init__(self, length: int, tokens: int, width: int, depth: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.positions = nn.Parameter(torch.randn(length, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        states = self.blocks(self.tokens(x.round().long()) + self.positions)
        out: Tensor = self.output(self.norm(states[:, -1]))
        return out


def decoder(
    shape: tuple[int, ...],
    outputs: int,
    *,
    tokens: Count = 99,
    width: Count = 128,
    depth: Count = 2,
    heads: Count = 4,
) -> nn.Module:
    """A small causal transformer over tokens, read at the last position

    Paper: Power et al. 2022, arXiv 2201.02177

    Args:
        tokens: number of different tokens; inputs are whole numbers below it.
        width: length of a token's vector; a multiple of heads.
        depth: number of blocks.
        heads: attention heads of each block.

    Raises:
        UserError: the rows are not sequences, or the heads do not divide the width.
    """
    length = signal_length(shape, "decoder")
    if width % heads:
        raise UserError(f"model.heads={heads}", f"does not divide model.width={width}", "Use a divisor of it")
    return _CausalTransformer(length, tokens, width, depth, heads, outputs)
