"""Modules for rows of tokens: which positions count, embeddings, and the outputs of a row."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.data.text import Tokens


def check_labels(name: str, text: Tokens | None) -> None:
    """Refuse rows whose targets are tokens, for a model with one output for a row.

    Args:
        name: name of the model.

    Raises:
        UserError: every token has a target.
    """
    if text is not None and text.each:
        what = "has one output for a row, and these data have a target for each token"
        raise UserError(f"model={name}", what, "Use model=decoder, or gru with model.bidirectional=false")


def present(x: Tensor) -> Tensor:
    """Return which positions hold a token, shape (rows, length): the others are padding."""
    return x >= 0


def numbers(x: Tensor) -> Tensor:
    """Return the tokens as int64, with 0 for padding, shape (rows, length)."""
    return x.clamp(min=0).round().long()


class Counts(nn.Module):
    """How often each token is in a row, shape (rows, tokens).

    Args:
        tokens: number of different tokens.
    """

    rowwise = True

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.tokens = tokens

    def forward(self, x: Tensor) -> Tensor:
        counts = x.new_zeros(len(x), self.tokens)
        return counts.scatter_add(1, numbers(x), present(x).to(x.dtype))


class Embedded(nn.Module):
    """A vector for each token, and 0 for padding, shape (rows, length, width).

    Args:
        tokens: number of different tokens.
        width: length of a vector.
    """

    rowwise = True

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.vectors = nn.Embedding(tokens, width)

    def forward(self, x: Tensor) -> Tensor:
        vectors: Tensor = self.vectors(numbers(x))
        return vectors * present(x).unsqueeze(2)


def mean_of(states: Tensor, counts: Tensor) -> Tensor:
    """Return the mean over the positions that count, shape (rows, width); 0 for a row without one.

    Args:
        states: shape (rows, length, width).
        counts: which positions count, shape (rows, length).
    """
    weights = counts.to(states.dtype).unsqueeze(2)
    return (states * weights).sum(1) / weights.sum(1).clamp(min=1)


def last_of(states: Tensor, counts: Tensor) -> Tensor:
    """Return the state at the last position that counts, or at the first for a row without one, shape (rows, width).

    Args:
        states: shape (rows, length, width).
        counts: which positions count, shape (rows, length).
    """
    places = torch.arange(counts.shape[1], device=counts.device)
    last = (places * counts).amax(1)
    return states[torch.arange(len(states), device=states.device), last]


def check_heads(width: int, heads: int) -> None:
    """Refuse a number of attention heads that does not divide the width.

    Raises:
        UserError: it does not.
    """
    if width % heads:
        raise UserError(f"model.heads={heads}", f"does not divide model.width={width}", "Use a divisor of it")
