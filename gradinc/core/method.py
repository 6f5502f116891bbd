"""What a method is: one idea from a paper, in as many of six hooks as it needs."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from gradinc.core.memory import Memory
from gradinc.core.view import LearnerView
from gradinc.core.window import Window
from gradinc.data.batch import Batch
from gradinc.data.task import Setting, Task

Role = Literal["free", "recomputes", "steers", "confines", "bounds", "layerwise", "masks", "averages"]
"""What a method does to the gradient or to the update, as far as others in the chain depend on it:

- ``recomputes``: `transform` throws away what others made of the gradient before it.
- ``steers``: `transform` takes a part out of the gradient that must not come back.
- ``confines``: the same, and what is taken out grows from task to task, so that old momentum would bring it back.
- ``bounds``: `transform` does no more than scale the whole gradient down.
- ``layerwise``: `transform` treats every layer by itself and remembers nothing of it.
- ``masks``: `stepped` drops entries of the update that was made.
- ``averages``: `stepped` and `end` move the weights by more than the update that was made.
- ``free``: none of these.

`gradinc.core.order` says which go together, and the learner calls the `stepped` of those that move the weights before
that of the others.
"""

MOVES = ("confines", "masks", "averages")
"""Roles whose `stepped` changes the weights."""


class Method:
    """One idea from a paper. Subclass it in ``gradinc/methods/<name>.py`` and override what you need.

    Options are the keyword arguments of ``__init__``; their annotations are the schema that the command line is checked
    against (`gradinc.config.values`). A method never calls ``backward``, ``step`` or ``zero_grad``, and never sees the
    log or the disk.

    Attributes:
        state: names of the attributes that must survive a restart: tensors, numbers, text, and lists and dicts of
            these. The hooks may not keep anything else between two calls.
        role: what others in the chain have to know of it.
        rereads: whether the window has to keep its batches, for `LearnerView.regradient` in `transform` or for
            ``window.batches`` in `stepped`.
        needs_past: whether it acts only once a task is over, so that a run on one task is trained without it.
        rests: what of a model's normalisations it leaves unchanged after the first task: ``statistics``, or
            ``weights and statistics``; empty for nothing.
        capacity: examples that it trains on or compares with later, as its option says; 0 for a method that keeps none.
    """

    state: ClassVar[tuple[str, ...]] = ()
    role: ClassVar[Role] = "free"
    rereads: ClassVar[bool] = False
    needs_past: ClassVar[bool] = False
    rests: ClassVar[str] = ""
    capacity: int = 0

    def check(self, model: nn.Module, setting: Setting) -> None:
        """Called once, before anything is created.

        Raises:
            UserError: it cannot work on this model, or on a stream of this kind.
        """

    @property
    def nbytes(self) -> int:
        """Bytes of what it keeps: examples, gradients, bases, importances."""
        return sum(_bytes(getattr(self, name)) for name in self.state)

    def standing(self) -> Tensor | None:
        """Weights, shape (P,), that are measured and kept as the best instead of those in training, if there are."""
        return None

    def begin(self, task: Task, learner: LearnerView) -> None:
        """Called before a task's first batch."""

    def batch(self, batch: Batch, learner: LearnerView) -> Batch:
        """Choose what is trained on. All randomness of a method is drawn here, from `LearnerView.rng`."""
        return batch

    def loss(self, batch: Batch, out: Tensor, learner: LearnerView) -> Tensor:
        """A differentiable term, a mean over rows or a penalty. Pure: it may be evaluated twice."""
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
