"""The one thing that is checked about the order of methods; they are never sorted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from gradinc.base.errors import UserError
from gradinc.core.method import Method
from gradinc.core.rule import Rule


def check_order(methods: Mapping[str, type[Method]]) -> None:
    """Refuse an order in which a method would undo what another did.

    A method that recomputes the gradient comes first among those with a `transform`, since it throws
    away what they made of it. A projection is followed by clipping only, since anything else leaves its
    subspace, and no method may drop entries of the update that was made of it. A method that averages
    weights comes last among those with a `stepped`, since they would take its step for the update.

    Args:
        methods: classes by name, in the order written.

    Raises:
        UserError: the order is one of these; it says which one to write instead.
    """
    confining = [name for name, method in methods.items() if method.confines]
    masking = [name for name, method in methods.items() if method.masks]
    if confining and masking:
        what = f"{masking[0]} drops entries of the update, which leaves the subspace that {confining[0]} keeps it in"
        raise UserError(_written(methods), what, "Use one of them")
    transforming = [name for name, method in methods.items() if method.transform is not Method.transform]
    for place, name in enumerate(transforming):
        before, after = transforming[:place], transforming[place + 1 :]
        if methods[name].recomputes and before:
            if methods[before[0]].recomputes:
                what = f"both {before[0]} and {name} recompute the gradient, so only the last would count"
                raise UserError(_written(methods), what, "Use one of them")
            what = f"{name} recomputes the gradient, so it must come before {before[0]}"
            raise UserError(_written(methods), what, f"Use {_moved(methods, name, before[0])}")
        if methods[name].projects:
            for other in after:
                if not methods[other].clips:
                    what = f"{name} projects the gradient, so nothing but clip may follow, and {other} does"
                    mend = "one of them" if methods[other].projects else _moved(methods, other, name)
                    raise UserError(_written(methods), what, f"Use {mend}")
    stepping = [name for name, method in methods.items() if method.stepped is not Method.stepped]
    for place, name in enumerate(stepping):
        if methods[name].averages and stepping[place + 1 :]:
            last = stepping[-1]
            what = f"{name} averages the weights, so it must come after {last}"
            raise UserError(_written(methods), what, f"Use {_moved(methods, name, last, behind=True)}")


def check_layers(methods: Mapping[str, type[Method]], heads: Sequence[range] = ()) -> None:
    """Refuse what needs the gradient of all layers at once, where some layers wait for theirs.

    Args:
        methods: classes by name.
        heads: of the tasks, where they have heads of their own.

    Raises:
        UserError: there is such a method, or there are heads, which wait for their task.
    """
    if heads:
        what = "layers cannot wait where tasks have heads of their own, which rest between their tasks"
        raise UserError("strategy.window.layers", what, "Leave it out, or the heads")
    for name, method in methods.items():
        if method.transform is not Method.transform and not method.layerwise:
            what = f"{name} reads the whole gradient, and layers with longer windows have none in most updates"
            raise UserError("strategy.window.layers", what, f"Leave out {name} or strategy.window.layers")


def check_rows(
    name: str, rule: Rule, model: nn.Module, methods: Mapping[str, type[Method]], *, corrupted: bool
) -> None:
    """Refuse what has no gradient of each row's own, where the rule needs that.

    Args:
        name: of the rule.
        methods: classes by name.
        corrupted: whether micro-batches' gradients arrive broken.

    Raises:
        UserError: a method has a term of its own, the model mixes rows, or gradients are corrupted.
    """
    if not rule.by_row:
        return
    where = f"strategy.window.rule={name}"
    for method, kind in methods.items():
        if kind.loss is not Method.loss:
            what = f"{name} clips the gradient of each row's own loss, and {method} adds a term that is none"
            raise UserError(where, what, "Use one of them")
    if any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in model.modules()):
        what = "BatchNorm mixes the rows of a batch, so that none has a gradient of its own"
        raise UserError(where, what, "Use model.norm=group")
    if corrupted:
        what = "takes gradients of rows, and corrupt.prob breaks those of micro-batches"
        raise UserError(where, what, "Use one of them")


def _written(names: Mapping[str, object] | list[str]) -> str:
    return f"strategy=[{','.join(names)}]"


def _moved(methods: Mapping[str, object], name: str, other: str, *, behind: bool = False) -> str:
    """The strategy with one name moved in front of another, or behind it."""
    names = [each for each in methods if each != name]
    names.insert(names.index(other) + behind, name)
    return _written(names)
