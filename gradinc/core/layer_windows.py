"""Layers with longer windows than the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config.names import choose
from gradinc.core.method import Method
from gradinc.core.plan import Last
from gradinc.core.view import LearnerView
from gradinc.core.weights import Weights
from gradinc.core.window import Window


class LayerWindows(Method):
    """Gives some layers longer windows: they receive the mean gradient over all rows of several windows.

    A layer's window ends after its number of micro-batches, or earlier with an epoch or a task, as the window itself
    does (``strategy.window.last``). Until then the optimizer sees no gradient of this layer, so that its momentum, its
    decay and its counters do not change.

    Args:
        weights: created with the window sizes of these layers.
        window: the window that all layers share.
        size: micro-batches of an ordinary window.
        last: what happens to a window at the end of an epoch.
    """

    state = ("held", "items", "taken", "task")

    def __init__(self, weights: Weights, window: Window, size: int, last: Last) -> None:
        self._weights, self._window, self._size, self._last = weights, window, size, last
        self._views = {
            longer: [weights.grad[a:b] for a, b in weights.leaves.waiting(longer)] for longer in weights.leaves.waits
        }
        self.held: dict[int, list[Tensor]] = {}
        self.items = dict.fromkeys(self._views, 0.0)
        self.taken = dict.fromkeys(self._views, 0)
        self.task = 0

    def transform(self, g: Tensor, learner: LearnerView) -> None:
        """Collect the gradients of the waiting layers, or write the mean gradient of a layer whose window ends.

        The optimizer's next step then moves only the layers whose update is due.
        """
        window, task = self._window, learner.place.task
        if task != self.task:
            self._forget(self._views)
            self.task = task
        moved = [self._size]
        for size, views in self._views.items():
            parts = [view * window.items for view in views]
            if size in self.held:
                for part, earlier in zip(parts, self.held[size], strict=True):
                    part += earlier
            self.items[size] += window.items
            self.taken[size] += window.taken
            if self.taken[size] >= size or (window.ends and self._last != "drop"):
                for view, part in zip(views, parts, strict=True):
                    view.copy_(part).div_(self.items[size])
                moved.append(size)
                self._forget([size])
            else:
                self.held[size] = parts
                for view in views:
                    view.zero_()
                if window.ends:
                    self._forget([size])
        self._weights.leaves.wake(moved)

    def _forget(self, sizes: Sequence[int] | Mapping[int, object]) -> None:
        for size in sizes:
            self.held.pop(size, None)
            self.items[size], self.taken[size] = 0.0, 0


def sizes_of(names: Sequence[str], layers: Mapping[str, int]) -> dict[str, int]:
    """Return the sizes of the layers' own windows, by the names of their weights; the first matching pattern counts.

    Args:
        names: names of all trainable weights.
        layers: ``strategy.window.layers``: patterns, with ``*`` for any text, and numbers of micro-batches.

    Raises:
        UserError: a pattern matches no weight.
    """
    for pattern in layers:
        if not any(fnmatchcase(name, pattern) for name in names):
            where = f"strategy.window.layers={{{pattern}:{layers[pattern]}}}"
            raise UserError(where, "no weight of this model has a matching name", choose(pattern, names))
    found = {}
    for name in names:
        fitting = [size for pattern, size in layers.items() if fnmatchcase(name, pattern)]
        if fitting:
            found[name] = fitting[0]
    return found
