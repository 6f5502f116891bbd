"""The part of the learner that methods and rules may use."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from gradinc.core.criterion import Criterion
from gradinc.core.passes import ROWS_TOGETHER, Objective, Passes
from gradinc.core.place import Place
from gradinc.core.row_gradients import RowGradients
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
        passes: for rules, which run the backward passes of a window.
    """

    model: nn.Module
    criterion: Criterion
    weights: Weights
    optimizer: torch.optim.Optimizer
    place: Place
    passes: Passes

    @property
    def lr(self) -> float:
        """Learning rate of the current update."""

    def rng(self, purpose: str) -> torch.Generator:
        """Return a generator on the model's device for one purpose, newly seeded in every micro-batch."""

    def update_rng(self, purpose: str) -> torch.Generator:
        """Return a generator like `rng`, newly seeded in every update: for `transform` and `stepped`."""

    def window_loss(self) -> Tensor:
        """Return the mean loss of the window's rows when they were trained on, a scalar; for methods that reread."""

    def gradient(self, batch: Batch, objective: Objective | None = None, *, evaluated: bool = False) -> Tensor:
        """Return the gradient of the mean of an objective over any batch, at the current weights, shape (P,).

        Leaves the window, BatchNorm statistics, generators and every module's mode unchanged.

        Args:
            batch: the rows.
            objective: loss of each row, shape (rows,); by default the criterion.
            evaluated: use the model in evaluation mode, without dropout and with BatchNorm's running statistics, as for
                a statistic of a finished task; by default the model in training mode, as for a step.
        """

    def row_gradients(
        self,
        batch: Batch,
        objective: Objective | None = None,
        *,
        evaluated: bool = False,
        together: int = ROWS_TOGETHER,
    ) -> Iterator[RowGradients]:
        """Yield the gradient of every row's own loss: of all rows together, or of some rows at a time in order.

        The function has the arguments of `gradient` and leaves the same state unchanged. A row's weight is not used.

        Args:
            together: rows whose gradients are in memory together, if the model has layers without a factored form.
        """

    def input_gradient(self, batch: Batch, objective: Objective | None = None) -> Tensor:
        """Return the gradient of each row's objective by its input, in evaluation mode, shaped like ``batch.x``.

        Args:
            objective: loss of each row, shape (rows,); by default the criterion.
        """

    def outputs(self, batch: Batch) -> Tensor:
        """Return the model's outputs for any batch in evaluation mode, shape (rows, outputs), without a gradient."""

    def regradient(self) -> Tensor:
        """Return the gradient of this window's own objective at the current weights, shape (P,).

        It uses the same rows, dropout masks and methods' terms as the first pass. For a method's `transform`.
        """

    def part(self, batch: Batch, factor: float, out: Tensor | None = None) -> Tensor:
        """Return the gradient of one micro-batch's summed objective times a factor, computed again at the current
        weights.

        For rules. Shape (P,), written to `out` if given.
        """

    def note(self, name: str, value: Tensor) -> None:
        """Add a number to the mean in the next log line; it stays on the device until then."""
