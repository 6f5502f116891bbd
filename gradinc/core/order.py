"""Checks of the methods' order; methods are never sorted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple, get_args

from torch import nn

from gradinc.base.errors import UserError
from gradinc.config.schema import Config
from gradinc.core.method import Method, Role
from gradinc.core.rule import Rule


class Conflict(NamedTuple):
    """The reason why a method may not come after another.

    Attributes:
        what: the reason, with the names of the earlier and the later method.
        hook: the hook that both methods must have for the conflict.
        swap: whether the other order is allowed; else the methods exclude each other.
    """

    what: str
    hook: str | None
    swap: bool


def _table() -> Iterator[tuple[tuple[Role, Role], Conflict]]:
    roles: tuple[Role, ...] = get_args(Role)
    for role in roles:
        # A method that averages weights comes last: other methods would take its change for the update.
        yield ("averages", role), Conflict("{0} averages the weights, so it must come after {1}", "stepped", True)
    for role in roles:
        # A method after a projection may not leave the subspace of the projection.
        for projects in ("steers", "confines"):
            what = "{0} projects the gradient, so nothing but clip may follow, and {1} does"
            if role != "bounds":
                yield (projects, role), Conflict(what, "transform", role not in ("steers", "confines"))
    for role in roles:
        # A method that recomputes the gradient discards the changes before it.
        what = "{1} recomputes the gradient, so it must come before {0}"
        yield (role, "recomputes"), Conflict(what, "transform", True)
    what = "both {0} and {1} recompute the gradient, so only the last would count"
    yield ("recomputes", "recomputes"), Conflict(what, "transform", False)
    what = " drops entries of the update, which leaves the subspace that "
    yield ("confines", "masks"), Conflict("{1}" + what + "{0} keeps it in", None, False)
    yield ("masks", "confines"), Conflict("{0}" + what + "{1} keeps it in", None, False)
    what = "both {0} and {1} average the weights, so one would average what the other has averaged"
    yield ("averages", "averages"), Conflict(what, "stepped", False)
    what = "{1} replaces weights, which leaves the subspace that {0} keeps them in"
    yield ("confines", "resets"), Conflict(what, None, False)
    what = "{0} replaces weights, which leaves the subspace that {1} keeps them in"
    yield ("resets", "confines"), Conflict(what, None, False)


CONFLICTS: Mapping[tuple[Role, Role], Conflict] = dict(_table())
"""Conflicts by the roles of the earlier and the later method."""


def check_order(methods: Mapping[str, type[Method]]) -> None:
    """Refuse an order in which a method would undo what another did (`CONFLICTS`).

    Args:
        methods: classes by name, in the order written.

    Raises:
        UserError: the order has a conflict; the message says which order to write instead.
    """
    for earlier, later in combinations(methods, 2):
        conflict = CONFLICTS.get((methods[earlier].role, methods[later].role))
        if conflict is None or not all(_has(methods[name], conflict.hook) for name in (earlier, later)):
            continue
        fix = _moved(methods, later, earlier) if conflict.swap else "one of them"
        raise UserError(_written(methods), conflict.what.format(earlier, later), f"Use {fix}")


def _has(method: type[Method], hook: str | None) -> bool:
    return hook is None or getattr(method, hook) is not getattr(Method, hook)


def check_layer_windows(methods: Mapping[str, type[Method]], heads: Sequence[range] = ()) -> None:
    """Refuse methods that need the gradient of all layers at once, if some layers have longer windows.

    Args:
        methods: classes by name.
        heads: the tasks' heads, if each task has its own.

    Raises:
        UserError: there is such a method, or tasks have heads of their own.
    """
    if heads:
        what = "layers cannot have longer windows if tasks have their own heads"
        raise UserError("strategy.window.layers", what, "Leave it out, or the heads")
    for name, method in methods.items():
        if _has(method, "transform") and method.role != "layerwise":
            what = f"{name} reads the whole gradient, and layers with longer windows have none in most updates"
            raise UserError("strategy.window.layers", what, f"Leave out {name} or strategy.window.layers")


def check_rows(
    name: str, rule: Rule, model: nn.Module, methods: Mapping[str, type[Method]], *, corrupted: bool
) -> None:
    """Refuse methods and models without a gradient for each row, if the rule needs it.

    Args:
        name: name of the rule.
        methods: classes by name.
        corrupted: whether micro-batches' gradients are corrupted.

    Raises:
        UserError: a method has a term of its own, the model mixes rows, or gradients are corrupted.
    """
    if not rule.by_row:
        return
    where = f"strategy.window.rule={name}"
    for method, kind in methods.items():
        if _has(kind, "loss"):
            what = f"{name} clips the gradient of each row's own loss, and {method} adds another term"
            raise UserError(where, what, "Use one of them")
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        what = "BatchNorm mixes the rows of a batch, so that no row has a gradient of its own"
        raise UserError(where, what, "Use model.norm=group")
    if corrupted:
        what = "takes gradients of rows, and corrupt.prob corrupts gradients of micro-batches"
        raise UserError(where, what, "Use one of them")


def check_shared(config: Config, methods: Iterable[Method]) -> None:
    """Refuse parts of a strategy that several processes cannot share.

    Raises:
        UserError: a part needs the rows or gradients of all processes, but each process has only its own.
    """
    window, several = config.strategy.window, "on several processes"
    if window.rule not in ("mean", "sum"):
        what = f"needs each micro-batch's gradient, and {several} only their sum is known"
        raise UserError(f"strategy.window.rule={window.rule}", what, "Use mean, or one process")
    if window.due != "size" or window.last == "carry" or window.layers:
        raise UserError("strategy.window", f"{several} windows have one size and end with the epoch", "Use due=size")
    if window.micro_batch == "auto":
        raise UserError("strategy.window.micro_batch=auto", f"is not found {several}", "Give data.batch_size=…")
    if config.diagnostics:
        raise UserError("diagnostics=true", f"needs the gradients of all micro-batches {several}", "Leave it out")
    for method in methods:
        kind = type(method)
        if kind.rereads and _has(kind, "stepped"):
            what = f"stores the rows that it is trained on, and {several} each would store its own"
            raise UserError(f"strategy={kind.__name__.lower()}", what, "Use one process")


def _written(names: Mapping[str, object] | list[str]) -> str:
    return f"strategy=[{','.join(names)}]"


def _moved(methods: Mapping[str, object], name: str, other: str) -> str:
    """Return the strategy with one name moved before another."""
    names = [each for each in methods if each != name]
    names.insert(names.index(other), name)
    return _written(names)
