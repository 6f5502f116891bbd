"""Gradients and updates confined to subspaces, layer by layer: what GPM, SGP, OWM and Adam-NSCL have in common.

Each of these methods stores one matrix for each layer, computed from the layer's inputs in past tasks
(`gradinc.core.layer_inputs`), and multiplies the layer's gradient or update by it from the right. Normalisations have
no such matrix: after the first task their weights and statistics stay unchanged (`gradinc.core.normalization`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from gradinc.base.errors import UserError
from gradinc.core.layer_inputs import CONVOLUTIONS
from gradinc.core.linalg import leading_directions, tiny
from gradinc.core.view import LearnerView
from gradinc.core.weights import Weights
from gradinc.data.task import Setting


def confine(
    vector: Tensor,
    learner: LearnerView,
    changes: Mapping[str, Callable[[Tensor], Tensor]],
    resting: Iterable[str],
) -> None:
    """Confine a gradient or an update of shape (P,) in place, and note the share of its norm that this removes.

    Args:
        changes: for each layer, the function that projects its matrix.
        resting: names of weights that must not change.
    """
    before = vector.norm()
    change_layers(vector, learner.weights, changes)
    hold(vector, learner.weights, resting)
    note_removed(learner, before, vector.norm())


def change_layers(vector: Tensor, weights: Weights, change: Mapping[str, Callable[[Tensor], Tensor]]) -> None:
    """Change layers of a vector of shape (P,), as matrices of shape (outputs, n), in place.

    Args:
        change: for each layer, a function from its matrix to the new matrix.
    """
    views = dict(weights.layers(vector))
    for name, matrix in layer_matrices(vector, weights, change).items():
        weight, bias = views[f"{name}.weight"], views.get(f"{name}.bias")
        matrix = change[name](matrix)
        if bias is None:
            weight.copy_(matrix.view(weight.shape))
        else:
            weight.copy_(matrix[:, :-1].reshape(weight.shape))
            bias.copy_(matrix[:, -1])


def layer_matrices(vector: Tensor, weights: Weights, names: Iterable[str]) -> dict[str, Tensor]:
    """Return layers of a vector of shape (P,), as matrices of shape (outputs, n); a bias is the last column."""
    views, found = dict(weights.layers(vector)), {}
    for name in names:
        weight, bias = views[f"{name}.weight"].flatten(1), views.get(f"{name}.bias")
        found[name] = weight if bias is None else torch.cat((weight, bias[:, None]), 1)
    return found


def inside(matrix: Tensor, u: Tensor) -> Tensor:
    """Return M U Uᵀ, by U or by its complement, whichever has fewer columns.

    Args:
        matrix: M, shape (outputs, n).
        u: U, orthonormal columns, shape (n, r).
    """
    if 2 * u.shape[1] <= len(u):
        return (matrix @ u) @ u.T
    other = complement(u)
    return matrix - (matrix @ other) @ other.T


def outside(matrix: Tensor, u: Tensor) -> Tensor:
    """Return M − M U Uᵀ, by U or by its complement; the arguments are those of `inside`."""
    if 2 * u.shape[1] <= len(u):
        return matrix - (matrix @ u) @ u.T
    other = complement(u)
    return (matrix @ other) @ other.T


def complement(u: Tensor) -> Tensor:
    """Return orthonormal columns of the directions that are orthogonal to orthonormal columns.

    The result is a function of `u` alone, and it is remembered as long as `u` exists.

    Args:
        u: shape (n, r); it must not be changed in place.

    Returns:
        Shape (n, n − r), in the dtype of `u`.
    """
    if u not in _COMPLEMENTS:
        _COMPLEMENTS[u] = torch.linalg.qr(u.double(), mode="complete")[0][:, u.shape[1] :].to(u).contiguous()
    return _COMPLEMENTS[u]


_COMPLEMENTS = WeakTensorKeyDictionary()


def hold(vector: Tensor, weights: Weights, names: Iterable[str]) -> None:
    """Set these weights to 0 in a gradient or an update of shape (P,)."""
    chosen = set(names)
    if chosen:
        for name, layer in weights.layers(vector):
            if name in chosen:
                layer.zero_()


def note_removed(learner: LearnerView, before: Tensor, after: Tensor) -> None:
    """Note the share of a vector's norm that a projection removed; `before` and `after` are norms."""
    learner.note("removed", (1 - (after / before.clamp(min=tiny(before))).square()).clamp(min=0).sqrt())


def note_free(learner: LearnerView, shares: dict[str, float]) -> None:
    """Note for each layer the share of its input dimensions in which it may still change."""
    for name, share in shares.items():
        learner.note(f"free_rank.{name}", learner.weights.value.new_tensor(share))


def grown_bases(
    bases: Mapping[str, Tensor], moments: Mapping[str, Tensor], thresholds: Mapping[str, float]
) -> dict[str, Tensor]:
    """Extend bases by the leading directions of a task's inputs, as in GPM and SGP.

    Args:
        bases: for each layer, orthonormal columns, shape (n, r); empty before the first task.
        moments: for each layer, Σ x xᵀ over the task's inputs, shape (n, n), float64.
        thresholds: for each layer, the share of Σ ‖x‖² that its basis must contain.

    Returns:
        For each layer, orthonormal columns, shape (n, r + k), float64; the first r are the old columns.
    """
    grown = {}
    for name, moment in moments.items():
        old = bases[name].double() if name in bases else None
        new = leading_directions(moment, thresholds[name], old)
        grown[name] = new if old is None else torch.cat((old, new), 1)
    return grown


def check_thresholds(
    method: str, option: float | list[float], increase: float, model: nn.Module, setting: Setting
) -> None:
    """Refuse a number of thresholds other than the layers', and thresholds that grow to 1, which leaves no direction.

    Args:
        method: name of the method, for the message.
        option: one threshold for all layers, or one for each.
        increase: added to the thresholds with each task.

    Raises:
        UserError: the thresholds are refused.
    """
    highest = max(thresholds_of(method, option, model).values(), default=0.0)
    steps = setting.tasks - 2  # the last task trains with the basis of the task before it
    if increase and highest < 1 <= highest + increase * steps:
        what = f"lets the threshold of {highest:g} grow to 1 within {setting.tasks} tasks, which leaves no direction"
        fix = f"Use less than {(1 - highest) / steps:.2g}"
        raise UserError(f"strategy.methods.{method}.increase={increase:g}", what, fix)


def thresholds_of(
    method: str, option: float | list[float], model: nn.Module, increase: float = 0.0
) -> dict[str, float]:
    """Return the threshold of each linear or convolutional layer, from one number for all layers or one for each.

    Args:
        method: name of the method, for the message.
        increase: added to each.

    Raises:
        UserError: the number of thresholds is not the number of layers.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, *CONVOLUTIONS))]
    if not isinstance(option, list):
        return dict.fromkeys(names, option + increase)
    if len(option) != len(names):
        where = f"strategy.methods.{method}.threshold=[{','.join(map(str, option))}]"
        what = f"has {len(option)} numbers, and the model has {len(names)} layers"
        raise UserError(where, what, f"Give {len(names)}, or one for all")
    return {name: each + increase for name, each in zip(names, option, strict=True)}
