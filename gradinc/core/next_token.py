"""The loss of a language model: the cross-entropy of every token that has a next one."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from gradinc.core.criterion import Criterion
from gradinc.data.batch import Batch
from gradinc.data.padding import PAD
from gradinc.data.text import Tokens


class NextToken(Criterion):
    """Softmax cross-entropy of the next token, in nats for a token.

    The targets are already shifted: ``y[:, i]`` follows ``x[:, i]``, and `PAD` is no target. So the tokens that are
    counted are the tokens that are predicted. Reports the mean loss over tokens, the perplexity, the share of tokens
    whose best prediction is right, and if tokens have a size in bytes the loss in bits for a byte.

    Args:
        text: the tokens.
    """

    score = "loss"
    higher = False
    online = "accuracy"
    chunk = 64

    def __init__(self, text: Tokens) -> None:
        self._sizes = None if text.sizes is None else torch.from_numpy(text.sizes)

    def __call__(self, batch: Batch, out: Tensor) -> Tensor:
        return self._losses(batch.y, out).view(batch.y.shape).sum(1)

    def terms(self, y: Tensor) -> Tensor:
        return (y != PAD).sum(1).double()

    def total(self, batch: Batch, out: Tensor) -> Tensor:
        if batch.weight is None:
            return F.cross_entropy(out.flatten(0, 1), batch.y.flatten(), ignore_index=PAD, reduction="sum")
        return (self(batch, out) * batch.weight).sum()

    def sums(self, y: Tensor, out: Tensor, task: int = 0, now: int = 0) -> Tensor:
        counts = y != PAD
        right = (out.argmax(2) == y) & counts
        size = y.new_zeros((), dtype=torch.float64)
        if self._sizes is not None:
            self._sizes = self._sizes.to(y.device)
            size = self._sizes[y[counts]].sum()
        return torch.stack((self._losses(y, out).sum().double(), right.sum().double(), counts.sum().double(), size))

    def prequential(self, batch: Batch, out: Tensor) -> Tensor:
        """Return the sum over the stream's rows of the share of their tokens that were predicted, a scalar."""
        y, out = batch.y[: batch.fresh], out.detach()[: batch.fresh]
        right = ((out.argmax(2) == y) & (y != PAD)).sum(1)
        return (right / self.terms(y).clamp(min=1)).sum()

    def measures(self, sums: list[float], rows: int) -> dict[str, float]:
        total, right, tokens, size = sums
        return {**measures_of(total, tokens, size), "accuracy": right / max(tokens, 1)}

    @staticmethod
    def _losses(y: Tensor, out: Tensor) -> Tensor:
        """Return the loss of each token, 0 if it does not count, shape (rows * length,)."""
        return F.cross_entropy(out.flatten(0, 1), y.flatten(), ignore_index=PAD, reduction="none")


def measures_of(total: float, tokens: float, size: float) -> dict[str, float]:
    """Return mean loss and perplexity, and the loss in bits for a byte if the size is known.

    Args:
        total: sum of the losses in nats.
        tokens: number of predicted tokens.
        size: their bytes; 0 if not known.
    """
    loss = total / max(tokens, 1)
    found = {"loss": loss, "perplexity": perplexity(loss)}
    return found if size == 0 else {**found, "bits_per_byte": total / math.log(2) / size}


def perplexity(loss: float) -> float:
    """Return e to the power of a loss in nats; infinite where it is too large for a number."""
    return math.exp(loss) if loss < 700 else math.inf
