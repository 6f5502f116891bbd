r"""sign Σ sign gₖ.

$$ g = \mathrm{sign} \sum_k \mathrm{sign}\, g_k $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.core.rule import SeparateRule
from gradinc.core.view import LearnerView
from gradinc.data.batch import Batch


class SignVote(SeparateRule):
    """The micro-batches vote on the sign of each weight's gradient

    Paper: Bernstein et al. 2018, arXiv 1802.04434
    Title: signSGD: Compressed Optimisation for Non-Convex Problems
    Authors: Jeremy Bernstein, Yu-Xiang Wang, Kamyar Azizzadenesheli, Anima Anandkumar
    Limits: The size of the gradient is lost, so the learning rate is the size of a step and has to be much smaller.

    Every micro-batch has one vote, whatever its number of rows; a tie gives 0. The scale of the gradient is lost, so
    the learning rate is the size of a step: at most a hundredth of the rate for the mean.
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
        self.unsound += g.sum() * 0  # NaN after a gradient that is not finite; its signs would hide it
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
