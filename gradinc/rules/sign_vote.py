"""sign Σ sign gₖ."""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.core.rule import SeparateRule
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class SignVote(SeparateRule):
    """The micro-batches vote on the sign of each weight's gradient

    Paper: Bernstein et al. 2018, arXiv 1802.04434

    Every micro-batch has one vote, whatever its rows; a tie moves nothing. The scale of the gradient
    is lost, so the learning rate is the size of a step: a hundredth of what the mean needs, or less.
    """

    state = ("votes", "voters", "unsound")

    def __init__(self) -> None:
        self.votes: Tensor | None = None
        self.voters = 0
        self.unsound: Tensor | None = None

    def open(self, like: Tensor, size: int) -> None:
        self.votes, self.voters = torch.zeros_like(like, dtype=torch.int8), 0
        self.unsound = like.new_zeros(())

    def add(self, g: Tensor, batch: Batch, learner: LearnerView) -> None:
        assert self.votes is not None
        assert self.unsound is not None
        self.unsound += g.sum() * 0  # NaN from the first gradient on that is not finite; its signs would not tell
        if self.voters == torch.iinfo(self.votes.dtype).max:
            self.votes = self.votes.to(torch.int32)
        self.votes += g.sign_().to(self.votes.dtype)
        self.voters += 1

    def reduce(self, grad: Tensor, items: float, planned: float) -> bool:
        assert self.votes is not None
        assert self.unsound is not None
        grad.copy_(self.votes.sign_()).add_(self.unsound)
        self.votes = self.unsound = None
        return True
