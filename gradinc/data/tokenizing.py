"""Texts as tokens: bytes, words, or the tokens of a ``tokenizer.json``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gradinc.base.errors import UserError
from gradinc.data.padding import PAD
from gradinc.data.text import Sequences, Tokens, Vocabulary

WORD = re.compile(r"\w+(?:['’]\w+)*|[^\w\s]")
"""A word with its apostrophes, or one other character that is not space."""

UNKNOWN = "<unknown>"
"""The name of the token for words that are not known."""


def rows_of_tokens(texts: Sequence[str], tokenizer: str, vocabulary: Vocabulary, length: int) -> Sequences:
    """Return one row for each text, cut after `length` tokens.

    Args:
        tokenizer: ``bytes``, ``words``, or the path of a ``tokenizer.json``.
        vocabulary: whose words will be known, for ``words``.
    """
    lists, text = tokenized(texts, tokenizer, vocabulary)
    lengths = np.array([len(each) for each in lists], np.int64)
    kept = np.minimum(lengths, length)
    values = np.concatenate([each[:length] for each in lists]).astype(np.int32)
    # One more, so that rows without tokens at the end have a place.
    values = np.append(values, np.int32(PAD))
    starts = np.cumsum(kept) - kept
    longest = max(1, int(kept.max()))
    cut = int((lengths > length).sum())
    return Sequences(values, starts, kept, longest, replace(text, cut=cut))


def blocks_of_tokens(
    texts: Sequence[str], tokenizer: str, vocabulary: Vocabulary, length: int, pack: bool
) -> tuple[Sequences, np.ndarray]:
    """Return rows of `length` tokens whose targets are the next tokens; the last row of a text may be shorter.

    Args:
        pack: whether short rows of one text after another are joined, up to `length` tokens.

    Returns:
        The rows, and the number of the text of each row, int64. A packed row counts for its first text.
    """
    lists, text = tokenized(texts, tokenizer, vocabulary)
    firsts = np.cumsum([0, *(len(each) + 1 for each in lists)])
    values = np.concatenate([part for each in lists for part in (each, [PAD])]).astype(np.int32)
    starts: list[int] = []
    lengths: list[int] = []
    owners: list[int] = []
    for number, (tokens, first) in enumerate(zip(lists, firsts[:-1], strict=True)):
        for begin in range(0, len(tokens) - 1, length):
            count = min(length, len(tokens) - 1 - begin)
            joins = pack and bool(starts) and begin == 0 and starts[-1] + lengths[-1] + 2 == first
            if joins and lengths[-1] + 2 + count <= length:  # the last target, and the gap
                lengths[-1] += 2 + count
                continue
            starts.append(int(first) + begin)
            lengths.append(count)
            owners.append(number)
    text = replace(text, each=True, packed=pack)
    if not starts:
        raise UserError("data.root", "its texts have no token with a next one", "Give texts of 2 tokens or more")
    found = Sequences(values, np.array(starts, np.int64), np.array(lengths, np.int64), max(lengths), text)
    return found, np.array(owners, np.int64)


def tokenized(texts: Sequence[str], tokenizer: str, vocabulary: Vocabulary) -> tuple[list[np.ndarray], Tokens]:
    """Return the tokens of each text, and the facts about them."""
    if tokenizer == "bytes":
        lists = [np.frombuffer(text.encode(), np.uint8) for text in texts]
        return lists, Tokens(256, sizes=np.ones(256))
    if tokenizer == "words":
        known: dict[str, int] = {UNKNOWN: 0}
        lists = [
            np.array([known.setdefault(word, len(known)) for word in WORD.findall(text.lower())], np.int32)
            for text in texts
        ]
        return lists, Tokens(len(known), words=tuple(known), vocabulary=vocabulary)
    return _from_file(texts, tokenizer)


def file_digest(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _from_file(texts: Sequence[str], path: str) -> tuple[list[np.ndarray], Tokens]:
    where = f"data.tokenizer={path}"
    if not Path(path).expanduser().is_file():
        raise UserError(where, "is neither bytes nor words nor a file", "Give the path of a tokenizer.json")
    try:
        from tokenizers import Tokenizer
    except ImportError:
        raise UserError(where, "needs tokenizers", "pip install gradinc[text]") from None
    try:
        made = Tokenizer.from_file(str(Path(path).expanduser()))
    except Exception as error:  # the library raises plain exceptions
        what = f"is not a tokenizer.json ({str(error).splitlines()[0]})"
        raise UserError(where, what, "Give a file that the tokenizers library saved") from None
    made.no_padding()
    made.no_truncation()
    lists = [np.array(each.ids, np.int32) for each in made.encode_batch(list(texts), add_special_tokens=False)]
    count = made.get_vocab_size()
    sizes = np.array([len(made.decode([number]).encode()) for number in range(count)], np.float64)
    return lists, Tokens(count, sizes=sizes, file=file_digest(Path(path).expanduser()))
