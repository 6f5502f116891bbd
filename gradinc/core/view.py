"""What a method or a rule may use of the learner, and no more."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

from gradinc.core.criterion import Criterion
from gradinc.core.passes import Objective, Passes
from gradinc.core.place import Place
from gradinc.core.weights import Weights
from gradinc.data.batch import Batch


class LearnerView(Protocol):
    """The learner as methods and rules see it.

    Attributes:
        model: the model that is trained.
        criterion: the loss.
        weights: the model's weights as one vector, and their gradient as another.
        optimizer: for its state; only the learner calls it.
        place: task, updates and seed; only the learner changes it.
        passes: for rules, which make the backward passes of a window.
    """

    model: nn.Module
    criterion: Criterion
    weights: Weights
    optimizer: torch.optim.Optimizer
    place: Place
    passes: Passes

    @property
    def lr(self) -> float:
        """The learning rate of the update being made."""

    def rng(self, purpose: str) -> torch.Generator:
        """A generator on the model's device for one purpose, at its beginning in every micro-batch."""

    def gradient(
        self, batch: Batch, objective: Objective | None = None, *, each: bool = False, evaluated: bool = False
    ) -> Tensor:
        """The gradient of the mean of an objective over any batch, at the present weights.

        Leaves the window, BatchNorm statistics, generators and every module's mode as they were.

        Args:
            batch: the rows.
            objective: loss of each row, shape (rows,); the criterion when left out.
            each: give the gradient of every row's own loss instead.
            evaluated: of the model in evaluation mode, without dropout and with BatchNorm's running statistics, as a
                statistic of a finished task is taken; else of the model in training, which a step is made of.

        Returns:
            Shape (P,), or (rows, P) with `each`.
        """

    def input_gradient(self, batch: Batch) -> Tensor:
        """The gradient of each row's loss with respect to its input, in evaluation mode, shaped like ``batch.x``."""

    def outputs(self, batch: Batch) -> Tensor:
        """The model's outputs for any batch in evaluation mode, shape (rows, outputs), without a gradient."""

    def regradient(self) -> Tensor:
        """The gradient of this window's own objective at the present weights, shape (P,).

        The same rows, dropout masks and methods' terms as in the first pass. For a method while it transforms the
        window's gradient.
        """

    def part(self, batch: Batch, factor: float, out: Tensor | None = None) -> Tensor:
        """The gradient of one micro-batch's summed objective times a factor, once more, at the present weights.

        For a rule. Shape (P,), written to `out` if given.
        """

    def note(self, name: str, value: Tensor) -> None:
        """Add a number to the mean that the next log line reports; it stays on the device until then."""
