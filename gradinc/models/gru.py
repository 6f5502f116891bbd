"""A recurrent network over a sequence of numbers."""

from __future__ import annotations

from torch import Tensor, nn

from gradinc.config.values import Count
from gradinc.models.layers import signal_length


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


def gru(shape: tuple[int, ...], outputs: int, *, width: Count = 6, bidirectional: bool = True) -> nn.Module:
    """A gated recurrent unit over a sequence of numbers, then a linear layer

    Paper: Cho et al. 2014, arXiv 1406.1078

    Args:
        width: units in each direction.
        bidirectional: whether a second layer reads the sequence from its end.
    """
    return _Recurrent(signal_length(shape, "gru"), width, bidirectional, outputs)
