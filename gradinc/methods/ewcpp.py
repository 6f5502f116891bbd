r"""g + 2λ F (w − w*), with F a running Fisher.

$$ g \leftarrow g + 2\lambda\, F \odot (w - w^*) $$
"""

from __future__ import annotations

import torch
from torch import Tensor

from gradinc.config.values import Count, Positive, Strength
from gradinc.core.importance import fisher_with, squares_with, to_unit
from gradinc.core.method import Method
from gradinc.core.view import LearnerView
from gradinc.data.task import Task


class EWCpp(Method):
    """EWC++: one running Fisher information, updated during training

    Paper: Chaudhry et al. 2018, arXiv 1801.10112, equation 7
    Title: Riemannian Walk for Incremental Learning: Understanding Forgetting and Intransigence
    Authors: Arslan Chaudhry, Puneet K. Dokania, Thalaiyasingam Ajanthan, Philip H. S. Torr
    Limits: As EWC: the strength has to be searched, and nothing compares old classes with new ones. The Fisher
        information is of the weights along the way, not at the end of a task.

    F is a moving average over updates of the window's squared gradient in training, so it needs no pass at a task's
    end; it continues from task to task. The penalty is λ Σ F (w − w*)² around the weights at the last task's end, with
    F at the same moment, shifted and scaled to values between 0 and 1, as in the authors' program.

    Args:
        strength: λ.
        alpha: share of the newest squares in F; 0.9 in the program of Chaudhry et al. 2019 (arXiv 1812.00420).
        every: updates whose squares are averaged before they enter F; 10 in the same program. Remaining squares at a
            task's end are not used, unless the task has no others.
    """

    state = ("fisher", "squares", "held", "anchor", "updates")
    needs_past = True

    def __init__(self, *, strength: Strength = 1.0, alpha: Positive = 0.1, every: Count = 1) -> None:
        self.strength, self.alpha, self.every = strength, alpha, every
        self.fisher: Tensor | None = None  # F, shape (P,), as all others
        self.squares: Tensor | None = None  # Σ g² since the last change of F
        self.held: Tensor | None = None  # F at the last task's end, from 0 to 1
        self.anchor = torch.empty(0)  # w*
        self.updates = 0

    def begin(self, task: Task, learner: LearnerView) -> None:
        self.squares, self.anchor, self.updates = None, learner.weights.value.clone(), 0

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        self.squares = squares_with(self.squares, g)
        self.updates += 1
        if self.updates % self.every == 0:
            self.fisher, self.squares = fisher_with(self.fisher, self.squares / self.every, self.alpha), None
        if self.held is not None:
            force = self.held * (learner.weights.value - self.anchor)
            g.add_(force, alpha=2 * self.strength)
            learner.note("penalty_gradient", 2 * self.strength * force.norm())

    def end(self, task: Task, learner: LearnerView) -> None:
        if self.squares is not None and self.updates < self.every:
            self.fisher = fisher_with(self.fisher, self.squares / self.updates, self.alpha)
        assert self.fisher is not None
        self.held = to_unit(self.fisher)
