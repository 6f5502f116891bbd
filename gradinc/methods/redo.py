r"""Every k updates, renew the units with E|h| ≤ τ times the mean over their layer.

$$ \text{every } k \text{ updates, renew units } i \text{ with } \; \mathbb{E}|h_i| \le \tau \cdot \frac{1}{n} \sum_j
\mathbb{E}|h_j| $$
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradinc.config.values import Count, NonNegative
from gradinc.core.method import Method
from gradinc.core.units import Units, hidden_units, mean_activity, renew, watch_activity
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class ReDo(Method):
    """Recycle dormant hidden units

    Paper: Sokar et al. 2023, arXiv 2302.12902, algorithm 1
    Title: The Dormant Neuron Phenomenon in Deep Reinforcement Learning
    Authors: Ghada Sokar, Rishabh Agarwal, Pablo Samuel Castro, Utku Evci
    Limits: Against the loss of plasticity: on 60 permuted tasks it learns the last ones better than SGD, and forgets
        more. Needs plain hidden layers, and is refused with GPM.

    E|h| is over the rows of the update's window, after the activation and any pooling. A renewed unit has incoming
    weights drawn from the layer's initial weights, outgoing weights of 0, and no moments in the optimizer; the biases
    of the next layer do not change. On a GPU an update that looks for dormant units waits for their number.

    Args:
        every: k, updates between two searches.
        threshold: τ.
    """

    state = ("initial", "sums", "t")
    role = "resets"

    def __init__(self, *, every: Count = 1000, threshold: NonNegative = 0.1) -> None:
        self.every, self.threshold = every, threshold
        self.units: list[Units] = []  # they follow from the model, so no state
        self.initial = torch.empty(0)  # shape (P,)
        self.sums: dict[str, Tensor] = {}  # of this window, see `watch_activity`
        self.t = 0

    def check(self, model: nn.Module, setting: Setting) -> None:
        self.units = hidden_units("redo", model)

    def begin(self, task: Task, learner: LearnerView) -> None:
        if not len(self.initial):
            self.initial = learner.weights.value.clone()

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        if (self.t + 1) % self.every == 0:
            watch_activity(self.sums, self.units, learner)
        return batch

    def stepped(self, window: Window, learner: LearnerView) -> None:
        self.t += 1
        if self.t % self.every:
            return
        random, found = learner.update_rng("redo"), 0
        for units, (_, active) in zip(self.units, mean_activity(self.sums, self.units, learner), strict=True):
            score = units.each(active)
            dormant = (score <= self.threshold * score.mean()).nonzero().squeeze(1)
            renew(units, dormant, None, self.initial, learner, random)
            found += len(dormant)
        learner.note("renewed", self.initial.new_full((), float(found)))
