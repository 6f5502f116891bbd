"""Models of counts, which a language model should beat: how often tokens and pairs of tokens are in training rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import fmean

import torch
from torch import Tensor

from gradinc.core.next_token import measures_of
from gradinc.data.padding import PAD
from gradinc.data.rows import Rows
from gradinc.data.stream import Stream
from gradinc.data.text import Tokens

_ROWS = 1024
"""Rows that are counted together."""


class TokenCounts:
    """Counts of the predicted tokens of rows, and of each together with the token before it.

    The probability of a token alone is (c + 1) / (N + V), with its count c, the number N of predicted tokens, and the
    number V of different tokens. The probability p(b | a) of a token b after a is (c(ab) + T(a) p(b)) / (c(a) + T(a)),
    with the number T(a) of different tokens after a.

    Paper: Witten & Bell 1991, The Zero-Frequency Problem, IEEE Transactions on Information Theory 37, method C

    Args:
        parts: rows whose targets are the next tokens.
        tokens: number of different tokens.
    """

    def __init__(self, parts: Iterable[Rows], tokens: int) -> None:
        self._tokens = tokens
        found = [pairs.unique(return_counts=True) for rows in parts for pairs in self._pairs(rows)]
        seen, counts = (torch.cat(each) for each in zip(*found, strict=True))
        self._seen, places = seen.unique(return_inverse=True)
        self._counts = torch.zeros(len(self._seen), dtype=torch.float64).index_add_(0, places, counts.double())
        before, token = self._seen // tokens, self._seen % tokens
        zeros = torch.zeros(tokens, dtype=torch.float64)
        single = zeros.index_add(0, token, self._counts)
        self._alone = (single + 1) / (single.sum() + tokens)
        self._after = zeros.index_add(0, before, self._counts)
        self._kinds = before.bincount(minlength=tokens).double()

    def measures(self, rows: Rows, text: Tokens) -> dict[str, dict[str, float]]:
        """Return the measures of a language model for both models of counts, ``unigram`` and ``bigram``."""
        totals = {"unigram": 0.0, "bigram": 0.0}
        count, size = 0, 0.0
        for pairs in self._pairs(rows):
            before, token = pairs // self._tokens, pairs % self._tokens
            alone = self._alone[token]
            places = torch.searchsorted(self._seen, pairs).clamp_(max=len(self._seen) - 1)
            together = torch.where(self._seen[places] == pairs, self._counts[places], 0.0)
            kinds, after = self._kinds[before], self._after[before]
            paired = torch.where(after > 0, (together + kinds * alone) / (after + kinds).clamp(min=1), alone)
            totals["unigram"] -= float(alone.log().sum())
            totals["bigram"] -= float(paired.log().sum())
            count += len(token)
            size += 0.0 if text.sizes is None else float(torch.from_numpy(text.sizes)[token].sum())
        return {name: measures_of(total, count, size) for name, total in totals.items()}

    def _pairs(self, rows: Rows) -> Iterator[Tensor]:
        """Yield each predicted token with the token before it, as one number, int64, on the CPU."""
        for x, y in rows.chunks(_ROWS):
            real = y != PAD
            yield (x[real].long() * self._tokens + y[real]).cpu()


def baselines(stream: Stream, part: str) -> dict[str, dict[str, float]] | None:
    """Return the measures of models of counts, as means over the tasks; None if the targets are not tokens.

    The counts are of the training rows of all tasks together.

    Args:
        part: ``test`` or ``validation``.
    """
    text = stream.setting.text
    if text is None or not text.each:
        return None
    train = (each.rows("train", each.indices("train")) for each in stream.experiences)
    counts, sizes = TokenCounts(train, text.tokens), stream.experiences[0].dataset.text
    assert sizes is not None
    found = [counts.measures(stream.part(part, task), sizes) for task in range(stream.tested)]
    return {model: {name: fmean(each[model][name] for each in found) for name in found[0][model]} for model in found[0]}
