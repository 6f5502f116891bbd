"""Rows of text as sequences of tokens: numbers from 0, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

Vocabulary = Literal["first", "all"]


@dataclass(frozen=True)
class Tokens:
    """The tokens of a data set, as a model must know them.

    Attributes:
        tokens: number of different tokens.
        each: whether every token is to be followed by a prediction of the next one, as in a language model; else a row
            has one target.
        packed: whether a row may hold several sequences, with one `gradinc.data.padding.PAD` between them.
        words: the words by number, if tokens are words; the first one stands for every unknown word.
        sizes: bytes of each token, float64, shape (tokens,); None if tokens are words.
        vocabulary: the training rows whose words are known: those of the first task, or of all tasks.
        cut: rows that are longer than ``data.length`` and were cut.
        file: the sha256 of the ``tokenizer.json`` that made the tokens, in hex; None if they are words or bytes.
    """

    tokens: int
    each: bool = False
    packed: bool = False
    words: tuple[str, ...] | None = None
    sizes: np.ndarray | None = None
    vocabulary: Vocabulary = "first"
    cut: int = 0
    file: str | None = None

    def record(self) -> dict[str, Any]:
        """Return what a run's record of its data says about tokens."""
        return {"tokens": self.tokens, "each": self.each, "packed": self.packed, "cut": self.cut}

    @property
    def plain(self) -> Tokens:
        """Return only the facts that a model needs."""
        return Tokens(self.tokens, self.each, self.packed)


@dataclass(frozen=True)
class Sequences:
    """The rows of a data set of text as it was read.

    Attributes:
        values: the tokens of all rows, int32.
        starts, lengths: first token and number of input tokens of each row, int64, shape (n,). If the next token is the
            target, the token after the last input is the last target.
        length: largest number of input tokens.
        text: the tokens; its words are all different words of the set.
    """

    values: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray
    length: int
    text: Tokens

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the longest row."""
        return (self.length,)
