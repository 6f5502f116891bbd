"""A small causal transformer over tokens."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradinc.config.values import Count
from gradinc.data.text import Tokens
from gradinc.models.layers import signal_length
from gradinc.models.sequences import check_heads, last_of, numbers, present


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

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        # The attention is added to the normalised input, as in the network of the published results.
        x = self.norm1(x)
        rows, length, width = x.shape
        parts = self.project(x).view(rows, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(
            parts[0], parts[1], parts[2], attn_mask=seen, is_causal=seen is None
        )
        x = x + self.merge(mixed.transpose(1, 2).reshape(rows, length, width))
        out: Tensor = x + self.contract(nn.functional.gelu(self.expand(self.norm2(x))))
        return out


class _CausalTransformer(nn.Module):
    """Embeddings of tokens and positions, blocks, and the outputs at the last token, or at each token.

    Padding after a row is never seen, since attention is causal. The sequences of a packed row do not see each other,
    and each begins at the first position.

    Args:
        length: tokens of a row.
        text: the tokens.
    """

    def __init__(self, length: int, text: Tokens, width: int, depth: int, heads: int, outputs: int) -> None:
        super().__init__()
        self.each, self.packed = text.each, text.packed
        self.tokens = nn.Embedding(text.tokens, width)
        self.positions = nn.Parameter(torch.randn(length, width))
        self.blocks = nn.Sequential(*(_Block(width, heads) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        counts = present(x)
        places, seen = self._packed(counts) if self.packed else (None, None)
        positions = self.positions[: x.shape[1]] if places is None else self.positions[places]
        states = self.tokens(numbers(x)) + positions
        for block in self.blocks:
            states = block(states, seen)
        out: Tensor = self.output(self.norm(states if self.each else last_of(states, counts)))
        return out

    @staticmethod
    def _packed(counts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the position of each token in its own sequence, and which tokens each token sees.

        Args:
            counts: which positions hold a token, shape (rows, length).

        Returns:
            Shapes (rows, length) and (rows, 1, length, length).
        """
        place = torch.arange(counts.shape[1], device=counts.device)
        begins = torch.where(counts, 0, place + 1).cummax(1).values  # one past the last gap
        same = begins[:, :, None] == begins[:, None, :]
        seen = same & (place[:, None] >= place) & counts[:, None]
        seen |= place[:, None] == place  # a gap sees itself: the softmax of nothing would be NaN
        return (place - begins).clamp(min=0), seen.unsqueeze(1)


def decoder(
    shape: tuple[int, ...],
    outputs: int,
    text: Tokens | None = None,
    *,
    tokens: Count = 99,
    width: Count = 128,
    depth: Count = 2,
    heads: Count = 4,
) -> nn.Module:
    """A small causal transformer over tokens: for rows, or as a language model

    Paper: Power et al. 2022, arXiv 2201.02177
    Title: Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets
    Authors: Alethea Power, Yuri Burda, Harri Edwards, Igor Babuschkin, Vedant Misra

    Args:
        tokens: number of different tokens; inputs are whole numbers below it. Text has its own number.
        width: length of a token's vector; a multiple of heads.
        depth: number of blocks.
        heads: attention heads of each block.

    Raises:
        UserError: the rows are not sequences, or the heads do not divide the width.
    """
    length = signal_length(shape, "decoder")
    check_heads(width, heads)
    return _CausalTransformer(length, text or Tokens(tokens), width, depth, heads, outputs)
