"""What a method is: one idea from a paper, in as many of six hooks as it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from gradinc.core.memory import Memory

if TYPE_CHECKING:
    from gradinc.core.learner import Learner
    from gradinc.core.window import Window
    from gradinc.data.batch import Batch
    from gradinc.data.stream import Setting, Task


class Method:
    """One idea from a paper. Subclass it in ``gradinc/methods/<name>.py`` and override what you need.

    Options are the keyword arguments of ``__init__``; their annotations are the schema that the
    command line is checked against (`gradinc.config.values`). A method never calls ``backward``,
    ``step`` or ``zero_grad``, and never sees the log or the disk.

    Attributes:
        state: names of the attributes that must survive a restart: tensors, numbers, text, and
            lists and dicts of these. The hooks may not keep anything else between two calls.
        rereads: whether the window has to keep its batches, for `Learner.regradient` in
            `transform` or for ``window.batches`` in `stepped`.
        recomputes: whether `transform` throws away what others made of the gradient before it.
        projects: whether `transform` takes a part out of the gradient that must not come back.
        confines: whether what it takes out grows from task to task, so that old momentum would bring it back.
        clips: whether `transform` does no more than scale the whole gradient down.
        masks: whether `stepped` drops entries of the update that was made.
        averages: whether `stepped` and `end` move the weights by more than the update that was made. Its `end` is
            called before those of other methods, so that they see the weights that the task leaves.
        moves: whether `stepped` changes the weights. It is called before those of methods that do not, so that they
            see the update that was made in the end.
        layerwise: whether `transform` treats every layer by itself and remembers nothing of it.
            These are for `gradinc.core.order` and the learner.
        needs_past: whether it acts only once a task is over, so that a run on one task is trained without it.
        rests: what of a model's normalisations it leaves unchanged after the first task: ``statistics``, or
            ``weights and statistics``; empty for nothing.
        capacity: examples that it trains on or compares with later, as its option says; 0 for a method that keeps none.
        stands: the one name in `state` of weights, shape (P,), that are measured and kept as the best instead of
            those being trained; empty where there are no others.
    """

    state: ClassVar[tuple[str, ...]] = ()
    rereads: ClassVar[bool] = False
    recomputes: ClassVar[bool] = False
    projects: ClassVar[bool] = False
    confines: ClassVar[bool] = False
    clips: ClassVar[bool] = False
    masks: ClassVar[bool] = False
    averages: ClassVar[bool] = False
    moves: ClassVar[bool] = False
    layerwise: ClassVar[bool] = False
    stands: ClassVar[str] = ""
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

    def begin(self, task: Task, learner: Learner) -> None:
        """Called before a task's first batch."""

    def batch(self, batch: Batch, learner: Learner) -> Batch:
        """Choose what is trained on. All randomness of a method is drawn here, from `Learner.rng`."""
        return batch

    def loss(self, batch: Batch, out: Tensor, learner: Learner) -> Tensor:
        """A differentiable term, a mean over rows or a penalty. Pure: it may be evaluated twice."""
        raise NotImplementedError

    def transform(self, g: Tensor, learner: Learner) -> None:
        """Change the window's gradient, shape (P,), in place."""

    def stepped(self, window: Window, learner: Learner) -> None:
        """Called after the optimizer's step."""

    def end(self, task: Task, learner: Learner) -> None:
        """Called after a task's last batch."""


def _bytes(value: object) -> int:
    if isinstance(value, Tensor | Memory):
        return value.nbytes
    if isinstance(value, dict):
        return sum(map(_bytes, value.values()))
    return sum(map(_bytes, value)) if isinstance(value, list | tuple) else 0
