"""Rows of tokens, a tiny decoder in float64, and learners on them, as a command builds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from gradinc.config.compose import load_config
from gradinc.config.schema import Config
from gradinc.core.criterion import Criterion, with_terms
from gradinc.core.learner import Learner
from gradinc.core.next_token import NextToken
from gradinc.data.batch import Batch
from gradinc.data.padding import PAD
from gradinc.data.task import Setting, Task
from gradinc.data.text import Tokens
from gradinc.data.token_rows import TokenRows
from gradinc.models.decoder import decoder
from gradinc.runs.build import build_learner

TOKENS = 11
TEXT = Tokens(TOKENS, each=True)
LENGTHS = (7, 2, 0, 9, 1, 4, 5, 0, 3, 8, 6, 2, 9, 1, 5, 7)
"""Inputs of each row, whose targets are the next tokens; two rows have none."""


def rows(lengths: Sequence[int] = LENGTHS, seed: int = 0) -> TokenRows:
    draws = torch.Generator().manual_seed(seed)
    count = torch.tensor(lengths)
    values = torch.randint(TOKENS, (int(count.sum()) + len(lengths),), generator=draws).int()
    starts = (count + 1).cumsum(0) - count - 1
    return TokenRows(values, starts, count, None, max(lengths), torch.float64)


def task(own: TokenRows | None = None, criterion: Criterion | None = None) -> Task:
    own = own or rows()
    setting = Setting(tasks=2, outputs=TOKENS, shape=own.shape, text=TEXT)
    return with_terms(Task(0, None, own, own, own, setting), criterion or NextToken(TEXT))


def network(length: int = 9, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return decoder((length,), TOKENS, TEXT, width=8, depth=1, heads=2).double()


def settings(*words: str) -> Config:
    fixed = ("dtype=float64", "optimizer.momentum=0", "optimizer.lr=0.1", "data=digits", "model=mlp")
    return load_config([*fixed, *words])


def built(*words: str, criterion: Criterion | None = None, model: nn.Module | None = None) -> Learner:
    criterion = criterion or NextToken(TEXT)
    made = build_learner(settings(*words), model or network(), criterion, len(LENGTHS))
    made.begin(task(criterion=criterion))
    return made


def batches(size: int, own: Task | None = None) -> list[Batch]:
    return list((own or task()).batches(size))


def trained(
    learner: Learner,
    size: int,
    count: int,
    own: Task | None = None,
    spoil: Callable[[Batch], Batch] = lambda batch: batch,
) -> Tensor:
    """The weights after an epoch of windows of `count` micro-batches of `size` rows; the last window can be short."""
    served = [spoil(batch) for batch in batches(size, own)]
    for first in range(0, len(served), count):
        window = served[first : first + count]
        learner.open(sum(batch.items for batch in window), len(window))
        for batch in window:
            learner.take(batch)
        learner.update()
    return learner.weights.value.clone()


def loss_by_hand(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The mean over all tokens that count, one by one."""
    out = model(x).log_softmax(2)
    terms = [-out[i, j, y[i, j]] for i in range(len(y)) for j in range(y.shape[1]) if y[i, j] != PAD]
    return torch.stack(terms).mean()
