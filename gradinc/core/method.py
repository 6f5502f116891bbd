"""The base class of methods: one idea from a paper, in as many of six hooks as it needs."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

from torch import Tensor, nn

from gradinc.core.memory import Memory
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task

Role = Literal["free", "recomputes", "steers", "confines", "bounds", "layerwise", "masks", "averages", "resets"]
"""Effect of a method on the gradient or on the update, as far as other methods in the chain depend on it:

- ``recomputes``: `transform` discards earlier changes of the gradient.
- ``steers``: `transform` removes a part of the gradient that must not come back.
- ``confines``: as ``steers``, and the removed part grows from task to task, so that old momentum would restore it.
- ``bounds``: `transform` does no more than scale the whole gradient down.
- ``layerwise``: `transform` treats every layer separately and stores nothing about it.
- ``masks``: `stepped` drops entries of the update.
- ``averages``: `stepped` and `end` change the weights by more than the update.
- ``resets``: `stepped` replaces weights by new ones, which are no step from the old weights.
- ``free``: none of these.

`gradinc.core.order` defines which roles go together. The learner first calls the `stepped` of methods that move the
weights, and last the `stepped` of methods that replace weights.
"""

MOVES = ("confines", "masks", "averages")
"""Roles whose `stepped` changes the weights."""


class Method:
    """One idea from a paper. Subclass it in ``gradinc/methods/<name>.py`` and override what you need.

    Options are the keyword arguments of ``__init__``; the command line is checked against their annotations
    (`gradinc.config.values`). A method never calls ``backward``, ``step`` or ``zero_grad``, and never accesses the log
    or the disk.

    Attributes:
        state: names of the attributes that must survive a restart: tensors, numbers, text, and lists and dicts of
            these. The hooks may not store anything else between two calls.
        role: effect of the method that others in the chain depend on.
        rereads: whether the window has to store its batches, for `LearnerView.regradient` in `transform` or for
            ``window.batches`` in `stepped`.
        needs_past: whether the method acts only after the first task; on one task a run then trains without it.
        rests: parts of a model's normalisations that the method leaves unchanged after the first task:
            ``statistics``, or ``weights and statistics``; empty for none.
        reads_task: whether `begin` or `end` reads the task's training rows.
        weights_by_task: whether `standing` returns other weights for each task, so that no single model has the
            measured accuracies.
        by_row: whether the method uses the gradient of each row's own loss.
        capacity: examples stored for training or comparison, as set by its option; 0 for a method without memory.
    """

    state: ClassVar[tuple[str, ...]] = ()
    role: ClassVar[Role] = "free"
    rereads: ClassVar[bool] = False
    needs_past: ClassVar[bool] = False
    rests: ClassVar[str] = ""
    reads_task: ClassVar[bool] = False
    weights_by_task: ClassVar[bool] = False
    by_row: bool = False
    capacity: int = 0

    def check(self, model: nn.Module, setting: Setting) -> None:
        """Called once, before anything is created.

        Raises:
            UserError: the method cannot work on this model, or on a stream of this kind.
        """

    @property
    def nbytes(self) -> int:
        """Return the bytes of its stored examples, gradients, bases and importances."""
        return sum(_bytes(getattr(self, name)) for name in self.state)

    def standing(self, learner: LearnerView, task: int | None = None) -> Tensor | None:
        """Return the weights, shape (P,), to measure and save instead of the weights in training, or None.

        Args:
            task: the task of the measured rows; None for weights that are saved.
        """
        return None

    def classifier(self, learner: LearnerView) -> Callable[[Tensor], Tensor] | None:
        """Return a function that evaluation uses instead of the model, from inputs to scores, shape (rows, outputs).

        None for the model. The function is called with the model in evaluation mode, without gradients.
        """
        return None

    def begin(self, task: Task, learner: LearnerView) -> None:
        """Called before a task's first batch."""

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        """Choose the batch to train on. All randomness of a method is drawn here, from `LearnerView.rng`."""
        return batch

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        """Return a differentiable term, a mean over rows or a penalty. Pure: it may be evaluated twice."""
        raise NotImplementedError

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        """Change the window's gradient, shape (P,), in place."""

    def stepped(self, window: Window, learner: LearnerView) -> None:
        """Called after the optimizer's step."""

    def end(self, task: Task, learner: LearnerView) -> None:
        """Called after a task's last batch."""


def _bytes(value: object) -> int:
    if isinstance(value, Tensor | Memory):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0
