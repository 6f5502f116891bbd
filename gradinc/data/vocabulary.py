"""The words that a stream of text knows: the words of the training rows of its first task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from gradinc.data.dataset import Dataset
from gradinc.data.experience import Experience
from gradinc.data.padding import PAD
from gradinc.data.rows import Rows
from gradinc.data.token_rows import TokenRows
from gradinc.data.tokenizing import UNKNOWN


def with_vocabulary(experiences: Sequence[Experience], together: int) -> list[Experience]:
    """Return the tasks of a stream with numbers for the known words only; every other word is unknown.

    A vocabulary of all tasks would tell the model about tasks that it has not seen, so it is used only if
    ``data.vocabulary=all`` asks for it. The most frequent word has the number 1, unknown words have 0. Data sets whose
    tokens are not words stay as they are.

    Args:
        together: number of tasks that are trained on first, together.
    """
    first = experiences[0].dataset
    if first.text is None or first.text.words is None:
        return list(experiences)
    chosen = experiences if first.text.vocabulary == "all" else experiences[:together]
    counts: dict[str, int] = {}
    for each in chosen:
        assert each.dataset.text is not None
        assert each.dataset.text.words is not None
        rows = each.rows("train", each.indices("train"))
        assert isinstance(rows, TokenRows)
        found = _occurrences(rows, len(each.dataset.text.words))
        for number in found.nonzero().flatten().tolist():
            word = each.dataset.text.words[number]
            counts[word] = counts.get(word, 0) + int(found[number])
    counts.pop(UNKNOWN, None)
    words = (UNKNOWN, *sorted(counts, key=lambda word: (-counts[word], word)))
    numbers = {word: number for number, word in enumerate(words)}
    made: dict[int, Dataset] = {}
    for each in experiences:
        if id(each.dataset) not in made:
            made[id(each.dataset)] = _renumbered(each.dataset, words, numbers)
    return [replace(each, dataset=made[id(each.dataset)]) for each in experiences]


def _occurrences(rows: TokenRows, tokens: int) -> Tensor:
    """Return how often each token occurs in some rows, int64, shape (tokens,)."""
    total = torch.zeros(tokens, dtype=torch.int64)
    for x, _ in rows.chunks(4096):
        total += x[x != PAD].long().bincount(minlength=tokens).cpu()
    return total


def _renumbered(dataset: Dataset, words: tuple[str, ...], numbers: dict[str, int]) -> Dataset:
    assert dataset.text is not None
    assert dataset.text.words is not None
    table = torch.tensor([numbers.get(word, 0) for word in dataset.text.words], dtype=torch.int32)
    table = table.to(dataset.train.y.device)

    def changed(rows: Rows) -> TokenRows:
        assert isinstance(rows, TokenRows)
        return rows.renumbered(table)

    text = replace(dataset.text, words=words, tokens=len(words))
    return replace(
        dataset,
        outputs=len(words) if text.each else dataset.outputs,
        train=changed(dataset.train),
        validation=changed(dataset.validation),
        test=changed(dataset.test),
        text=text,
    )
