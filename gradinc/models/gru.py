"""A recurrent network over a sequence of numbers."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.config.values import Count
from gradinc.data.text import Tokens
from gradinc.models.layers import signal_length
from gradinc.models.sequences import Embedded, mean_of, present


class _Recurrent(nn.Module):
    """A recurrent layer, then a linear layer over its outputs at all positions.

    Args:
        length: numbers in a row.
        width: units in each direction.
        bidirectional: whether a second layer reads from the end.
        outputs: outputs of the model.
    """

    def __init__(self, length: int, width: int, bidirectional: bool, outputs: int) -> None:
        super().__init__()
        self.recurrent = nn.GRU(1, width, batch_first=True, bidirectional=bidirectional)
        self.output = nn.Linear(length * width * (2 if bidirectional else 1), outputs)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.recurrent(x.unsqueeze(2))
        out: Tensor = self.output(states.flatten(1))
        return out


class _OverTokens(nn.Module):
    """A recurrent layer over vectors of tokens, then a linear layer over the mean of its states or over each state.

    In the second direction each row is read from its own last token, so that padding changes nothing.

    Args:
        text: the tokens.
        width: units in each direction, and length of a token's vector.
        bidirectional: whether a second layer reads from the end.
        outputs: outputs of the model.
    """

    def __init__(self, text: Tokens, width: int, bidirectional: bool, outputs: int) -> None:
        super().__init__()
        self.each = text.each
        self.embedding = Embedded(text.tokens, width)
        self.forth = nn.GRU(width, width, batch_first=True)
        self.back = nn.GRU(width, width, batch_first=True) if bidirectional else None
        self.output = nn.Linear(width * (2 if bidirectional else 1), outputs)

    def forward(self, x: Tensor) -> Tensor:
        counts, vectors = present(x), self.embedding(x)
        states, _ = self.forth(vectors)
        if self.back is not None:
            place = torch.arange(x.shape[1], device=x.device)
            mirrored = (counts.sum(1, keepdim=True) - 1 - place).clamp(min=0)[:, :, None].expand_as(vectors)
            read, _ = self.back(vectors.gather(1, mirrored))
            states = torch.cat((states, read.gather(1, mirrored)), 2)
        out: Tensor = self.output(states if self.each else mean_of(states, counts))
        return out


def gru(
    shape: tuple[int, ...], outputs: int, text: Tokens | None = None, *, width: Count = 6, bidirectional: bool = True
) -> nn.Module:
    """A gated recurrent unit over numbers or tokens, then a linear layer

    Paper: Cho et al. 2014, arXiv 1406.1078
    Title: Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation
    Authors: Kyunghyun Cho, Bart van Merrienboer, Caglar Gulcehre, Dzmitry Bahdanau, Fethi Bougares, Holger Schwenk,
        Yoshua Bengio

    For numbers the linear layer has the states at all positions as its input, for tokens their mean over the row. A
    language model reads forward only, and has an output for each token.

    Args:
        width: units in each direction.
        bidirectional: whether a second layer reads the sequence from its end.
    """
    if text is not None:
        if text.each and bidirectional:
            what = "would read the tokens that a language model predicts"
            raise UserError("model.bidirectional=true", what, "Use model.bidirectional=false")
        if text.packed:
            raise UserError("data.pack=true", "model=gru reads a row as one sequence", "Use model=decoder")
        return _OverTokens(text, width, bidirectional, outputs)
    return _Recurrent(signal_length(shape, "gru"), width, bidirectional, outputs)
