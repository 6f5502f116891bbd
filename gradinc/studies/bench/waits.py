"""The parts of a strategy that read a number back from a GPU in every window, each with its reason."""

from __future__ import annotations

from gradinc.config.catalog import part
from gradinc.config.schema import Config
from gradinc.config.values import Drawn
from gradinc.data.stream import Stream

WAITS = {
    "agreement": "whether a micro-batch counts, and whether there is an update, depends on its gradient",
    "pcgrad": "the projections are computed on the CPU, from the K×K products of the gradients",
    "upgrad": "a quadratic program of the K×K products of the gradients is solved on the CPU",
    "gem": "a quadratic program of the products of the tasks' gradients is solved on the CPU",
    "noise_scale": "the size of the next window depends on the gradients",
    "norm_test": "the size of the next window depends on the gradients",
    "among=past": "the number of rows of past tasks in the memory is counted on the device",
    "kind=balanced": "which rows a balanced memory stores depends on their labels",
    "kind=ring": "which rows a ring stores depends on their labels",
    "heads of several tasks": "the optimizer skips the heads of tasks that no row belongs to",
}
"""Rules, dues and methods by name, options of methods, and pairs of parts. All others never wait in a window.

Between two tasks, at log lines, in evaluation and before checkpoints every run may wait.
"""

_DRAWN = ("replay", "sample")
"""Methods' options for the number of rows that they draw from their memory in each window."""


def waits(config: Config, stream: Stream) -> set[str]:
    """Return the entries of `WAITS` that a config contains."""
    window, methods = config.strategy.window, config.strategy.methods
    options = {
        f"{name}={value}"
        for method, given in methods.items()
        for name, value in given.items()
        if part("method", method).parameters[name].annotation != Drawn  # such a memory is filled between two tasks
    }
    found = {window.rule, window.due, *methods, *options}
    drawn = any(option in part("method", name).parameters for name in methods for option in _DRAWN)
    if stream.heads and (drawn or config.stream.data != "current"):
        found.add("heads of several tasks")
    return found & WAITS.keys()
