r"""ℓ(B ∪ M) + λ ‖h(x) − z*‖² on M, with z* the logits of the better one of two moving averages of the weights.

$$ \ell(B \cup M) + \lambda\, \lVert h_w(x) - z^*\rVert^2, \qquad z^* = h_{\bar w}(x),\; (x, y) \in M $$
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gradinc.config.values import Count, Decay, Fraction, Strength
from gradinc.core.memory import make_memory
from gradinc.core.method import Method
from gradinc.core.rehearsal import check_outputs, distance_from_stored, fill, open_memory, replay
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task


class CLSER(Method):
    """Complementary learning systems: replay with two averages of the weights

    Paper: Arani et al. 2022, arXiv 2201.12604, algorithm 1
    Title: Learning Fast, Learning Slow: A General Continual Learning Method based on Complementary Learning System
    Authors: Elahe Arani, Fahad Sarfraz, Bahram Zonooz
    Limits: Needs two more copies of the weights and almost twice the passes of ER. The averages need updates: with α =
        0.999 an average reaches back about a thousand of its changes.

    After update t, each average becomes α w̄ + (1 − α) w with its own probability, with α at most 1 − 1/(t + 1). For a
    replayed row, z* are the outputs of the average with the lower loss: it gives the row's class the higher
    probability. The distance is the mean over rows and outputs. The stable average is measured. z* is computed in
    evaluation mode with the buffers of the model in training; the authors' program uses training mode. Each micro-batch
    of a window draws its own `replay` rows, and shares one forward pass with them.

    Args:
        memory: rows that the reservoir stores, in units of stream.memory_unit.
        replay: rows drawn for each micro-batch, without repetition, from the whole memory.
        strength: λ.
        stable_frequency: probability with which an update changes the stable average.
        stable_alpha: α of the stable average.
        plastic_frequency: probability with which an update changes the plastic average.
        plastic_alpha: α of the plastic average.
    """

    state = ("memory", "stable", "plastic", "t")
    rereads = True

    def __init__(
        self,
        *,
        memory: Count = 500,
        replay: Count = 32,
        strength: Strength = 0.1,
        stable_frequency: Fraction = 0.7,
        stable_alpha: Decay = 0.999,
        plastic_frequency: Fraction = 0.9,
        plastic_alpha: Decay = 0.999,
    ) -> None:
        self.capacity, self.replay, self.strength = memory, replay, strength
        self.frequencies = {"stable": stable_frequency, "plastic": plastic_frequency}
        self.alphas = {"stable": stable_alpha, "plastic": plastic_alpha}
        self.memory = make_memory("reservoir")
        self.stable = self.plastic = torch.empty(0)  # shape (P,)
        self.t = 0

    def check(self, model: nn.Module, setting: Setting) -> None:
        check_outputs("cls_er", setting)

    def standing(self, learner: LearnerView, task: int | None = None) -> Tensor | None:
        return self.stable if len(self.stable) else None

    def begin(self, task: Task, learner: LearnerView) -> None:
        open_memory(self.memory, self.capacity, task, learner, "cls_er")
        if not len(self.stable):
            self.stable, self.plastic = learner.weights.value.clone(), learner.weights.value.clone()

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        batch = replay(batch, self.memory, self.replay, learner, "cls_er")
        if "cls_er" not in batch.parts:
            return batch
        rows, _ = batch.part("cls_er", batch.y)
        return batch.keeping("cls_er", *batch.parts["cls_er"], logits=self._taught(rows, learner))

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        if "cls_er" not in batch.parts:
            return out.new_zeros(())
        return self.strength * distance_from_stored(*batch.part("cls_er", out), learner)

    def stepped(self, window: Window, learner: LearnerView) -> None:
        fill(self.memory, window)
        self.t += 1
        for name, average in (("stable", self.stable), ("plastic", self.plastic)):
            if learner.place.chance(f"cls_er_{name}") < self.frequencies[name]:
                average.lerp_(learner.weights.value, 1 - min(1 - 1 / (self.t + 1), self.alphas[name]))

    @torch.no_grad()
    def _taught(self, rows: Batch, learner: LearnerView) -> Tensor:
        """Return z*, shape (rows, outputs)."""
        value = learner.weights.value
        now = value.clone()
        found = []
        for average in (self.stable, self.plastic):
            value.copy_(average)
            found.append(learner.outputs(rows))
        value.copy_(now)
        stable, plastic = found
        better = learner.criterion(rows, stable) < learner.criterion(rows, plastic)
        return torch.where(better.view(-1, *[1] * (stable.dim() - 1)), stable, plastic)
