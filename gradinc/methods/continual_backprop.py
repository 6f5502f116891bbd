r"""After each update, renew a share ρ of the mature units of each layer: those with the least utility.

$$ \text{renew } \rho\, n \text{ of the } n \text{ mature units of a layer: those with the smallest utility } u_i $$
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from gradinc.config.values import Decay, Fraction, Whole
from gradinc.core.method import Method
from gradinc.core.units import Units, hidden_units, mean_activity, renew, watch_activity
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class ContinualBackprop(Method):
    """Continual backpropagation: replace the least useful hidden units

    Paper: Dohare et al. 2024, arXiv 2306.13812, algorithm 1
    Title: Maintaining Plasticity in Deep Continual Learning
    Authors: Shibhansh Dohare, J. Fernando Hernandez-Garcia, Parash Rahman, A. Rupam Mahmood, Richard S. Sutton
    Neutral: rate=0
    Limits: Against the loss of plasticity, not against forgetting. Needs plain hidden layers, and is refused with GPM:
        new weights leave the subspace of a projection.

    The utility of a unit is the running mean of |h| Σ|w|, with its output h over the window's rows and its outgoing
    weights w. A unit is mature more than `maturity` updates after its last renewal. In each layer the number of mature
    units times ρ is added up; as many units as its whole part has are renewed. A renewed unit has incoming weights
    drawn from the layer's initial weights, outgoing weights of 0, no moments in the optimizer, utility 0 and age 0. The
    next layer's bias, if it has one, takes over the unit's running mean output; for a convolution this is exact except
    at borders with padding. The authors' program sets the mean to 0 before it is added, so it corrects nothing. Running
    means are corrected for their start, as in that program.

    Args:
        rate: ρ, share of the mature units that an update renews.
        decay: η of the running means.
        maturity: updates before a unit can be renewed.
    """

    state = ("initial", "sums", "utility", "mean", "age", "owed", "renewed", "t")
    role = "resets"

    def __init__(self, *, rate: Fraction = 1e-4, decay: Decay = 0.99, maturity: Whole = 100) -> None:
        self.rate, self.decay, self.maturity = rate, decay, maturity
        self.units: list[Units] = []  # they follow from the model, so no state
        self.initial = torch.empty(0)  # shape (P,)
        self.sums: dict[str, Tensor] = {}  # of this window, see `watch_activity`
        self.utility: dict[str, Tensor] = {}  # shape (units,)
        self.mean: dict[str, Tensor] = {}  # of the inputs of the next layer, shape (inputs,)
        self.age: dict[str, Tensor] = {}  # updates since the last renewal, shape (units,)
        self.owed: dict[str, float] = {}  # part of a unit that was not renewed yet
        self.renewed: dict[str, list[list[int]]] = {}  # pairs of an update and its renewals, while they are not mature
        self.t = 0

    def check(self, model: nn.Module, setting: Setting) -> None:
        self.units = hidden_units("continual_backprop", model)

    def begin(self, task: Task, learner: LearnerView) -> None:
        if len(self.initial):
            return
        self.initial = learner.weights.value.clone()
        for units in self.units:
            zeros = self.initial.new_zeros(units.size)
            self.utility[units.layer], self.age[units.layer] = zeros, zeros.clone()
            self.mean[units.layer] = zeros.new_zeros(units.size * units.copies * units.positions)
            self.owed[units.layer], self.renewed[units.layer] = 0.0, [[0, units.size]]

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        watch_activity(self.sums, self.units, learner)
        return batch

    def stepped(self, window: Window, learner: LearnerView) -> None:
        self.t += 1
        values, random = dict(learner.weights.layers(learner.weights.value)), learner.update_rng("continual_backprop")
        for units, (mean, active) in zip(self.units, mean_activity(self.sums, self.units, learner), strict=True):
            name = units.layer
            outgoing = values[f"{units.following}.weight"].abs().transpose(0, 1).flatten(1).sum(1)
            self.age[name] += 1
            self.utility[name].lerp_(units.each(active * outgoing), 1 - self.decay)
            self.mean[name].lerp_(mean, 1 - self.decay)
            if number := self._due(units):
                self._renew(units, number, learner, random)

    def _due(self, units: Units) -> int:
        """Return the number of units to renew: how many are mature is known without reading their ages."""
        young = [entry for entry in self.renewed[units.layer] if self.t - entry[0] <= self.maturity]
        self.renewed[units.layer] = young
        owed = self.owed[units.layer] + self.rate * (units.size - sum(count for _, count in young))
        self.owed[units.layer] = owed - math.floor(owed)
        return math.floor(owed)

    def _renew(self, units: Units, number: int, learner: LearnerView, random: torch.Generator) -> None:
        name = units.layer
        start = 1 - self.decay ** self.age[name]
        utility = (self.utility[name] / start).masked_fill(self.age[name] <= self.maturity, math.inf)
        chosen = utility.topk(number, largest=False).indices
        mean = (self.mean[name].view(units.copies, units.size, -1) / start[:, None]).flatten()
        renew(units, chosen, mean, self.initial, learner, random)
        for values in (self.utility[name], self.age[name]):
            values.index_fill_(0, chosen, 0)
        self.mean[name].index_fill_(0, units.inputs(chosen), 0)
        self.renewed[name] = [*self.renewed[name], [self.t, number]]
