"""Layers as matrices, and what they see: outputs = inputs · matrixᵀ, for linear and convolutional layers alike.

A layer's matrix has a row for each output. A convolution sees the patches under its kernel. A bias is the last column
of the matrix: it sees the input 1. With n columns, a change of the matrix that is orthogonal to all inputs that a
layer saw of old leaves all its old outputs as they were.

Normalisations have no such matrix. Where old outputs are to stay, they stand still once the first task is over, their
weights and their statistics.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.core.criterion import Criterion
from gradinc.core.linalg import tiny
from gradinc.core.view import LearnerView
from gradinc.core.weights import Weights, output_layer
from gradinc.data.batch import Batch
from gradinc.data.stream import Setting, Task

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORMS = nn.modules.batchnorm._NormBase
NORMS = (BATCH_NORMS, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def check_layers(method: str, model: nn.Module) -> None:
    """Refuse a model that has trainable weights which are no matrix that sees a layer's inputs.

    Args:
        method: its name, for the message.

    Raises:
        UserError: there are such weights.
    """
    for name, module in model.named_modules():
        if any(p.requires_grad for p in module.parameters(recurse=False)) and not _is_handled(module):
            layer = f"{name} ({type(module).__name__})" if name else type(module).__name__
            what = f"works on linear and plain convolutional layers, and this model's {layer} is neither"
            raise UserError(
                f"strategy.methods.{method}", what, "Use model=mlp, linear, cnn or resnet18, or strategy=agem"
            )


def _is_handled(module: nn.Module) -> bool:
    if isinstance(module, _CONVOLUTIONS):
        return module.groups == 1 and module.padding_mode == "zeros"
    return isinstance(module, (nn.Linear, *NORMS))


def held_layers(learner: LearnerView) -> dict[str, nn.Module]:
    """The linear and convolutional layers whose old outputs are to stay.

    All of them; but an output layer with rows for each task alone, the others masked, needs no holding.
    """
    trained, own = set(learner.weights.names), own_outputs(learner.criterion)
    last = output_layer(learner.model) if own else None
    return {
        name: module
        for name, module in learner.model.named_modules()
        if isinstance(module, (nn.Linear, *_CONVOLUTIONS)) and f"{name}.weight" in trained and name != last
    }


def own_outputs(criterion: Criterion) -> bool:
    """Whether each task has outputs of its own and the others do not count there, in training and in testing."""
    outputs = getattr(criterion, "outputs", None)
    if outputs is None or (outputs.train, outputs.test) != ("task", "task"):
        return False
    return int((outputs.of_task == 0).sum(0).max()) == 1


def inputs_of(learner: LearnerView, batch: Batch) -> dict[str, Tensor]:
    """What each held layer sees of a batch, by the layer's name, in evaluation mode.

    Returns:
        Shape (rows, positions, n), float64; a linear layer has one position or as many as its input has.
    """
    seen: dict[str, Tensor] = {}

    def keep(name: str, module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
        rows = _inputs(module, given[0].detach().double())
        seen[name] = torch.cat((seen[name], rows), 1) if name in seen else rows

    with ExitStack() as hooks:
        for name, module in held_layers(learner).items():
            hooks.callback(module.register_forward_hook(partial(keep, name)).remove)
        learner.outputs(batch)
    return seen


def _inputs(module: Any, x: Tensor) -> Tensor:
    rows = len(x)
    if isinstance(module, nn.Linear):
        x = x.reshape(rows, -1, x.shape[-1])
    else:
        x = F.pad(x, module._reversed_padding_repeated_twice)
        sizes = zip(module.kernel_size, module.stride, module.dilation, strict=True)
        for dim, (size, stride, dilation) in enumerate(sizes, start=2):
            x = x.unfold(dim, dilation * (size - 1) + 1, stride)[..., ::dilation]
        dims = len(module.kernel_size)  # from (rows, channels, *positions, *kernel)
        x = x.movedim(1, 1 + dims).reshape(rows, -1, module.in_channels * math.prod(module.kernel_size))
    return x if module.bias is None else torch.cat((x, x.new_ones(*x.shape[:2], 1)), 2)


def second_moments(
    learner: LearnerView, batches: Iterable[Batch], *, means: bool = False
) -> tuple[dict[str, Tensor], float]:
    """Σ x xᵀ over all inputs x of each held layer, shape (n, n), float64; and the number of rows.

    Args:
        means: take the mean of the inputs at each position over a batch for x, one for each batch.
    """
    moments: dict[str, Tensor] = {}
    rows = 0.0
    for batch in batches:
        rows += batch.items
        for name, inputs in inputs_of(learner, batch).items():
            inputs = inputs.mean(0) if means else inputs.flatten(0, 1)
            moments[name] = moments.get(name, 0) + inputs.T @ inputs
    return moments, rows


def change_layers(vector: Tensor, weights: Weights, change: Mapping[str, Callable[[Tensor], Tensor]]) -> None:
    """Change layers of a vector of shape (P,), as matrices of shape (outputs, n), in place.

    Args:
        change: by the layer's name what to make of its matrix.
    """
    views = dict(weights.layers(vector))
    for name, make in change.items():
        weight, bias = views[f"{name}.weight"], views.get(f"{name}.bias")
        matrix = weight.flatten(1)
        if bias is None:
            weight.copy_(make(matrix).view(weight.shape))
        else:
            matrix = make(torch.cat((matrix, bias[:, None]), 1))
            weight.copy_(matrix[:, :-1].reshape(weight.shape))
            bias.copy_(matrix[:, -1])


def norm_weights(learner: LearnerView) -> list[str]:
    """The names of the trainable weights of normalisations."""
    names = [
        f"{name}.{own}"
        for name, module in learner.model.named_modules()
        if isinstance(module, NORMS)
        for own, _ in module.named_parameters(recurse=False)
    ]
    return [name for name in learner.weights.names if name in set(names)]


def hold(vector: Tensor, weights: Weights, names: Iterable[str]) -> None:
    """Set these weights to 0 in a gradient or an update of shape (P,)."""
    chosen = set(names)
    if chosen:
        for name, layer in weights.layers(vector):
            if name in chosen:
                layer.zero_()


def hold_statistics(model: nn.Module) -> None:
    """Let batch normalisation go by the statistics that it has, and gather no more, until the model's mode is set."""
    for module in model.modules():
        if isinstance(module, BATCH_NORMS):
            module.eval()


def note_removed(learner: LearnerView, before: Tensor, after: Tensor) -> None:
    """Note the share of a vector's norm that a projection took away; `before` and `after` are norms."""
    learner.note("removed", (1 - (after / before.clamp(min=tiny(before))).square()).clamp(min=0).sqrt())


def note_free(learner: LearnerView, shares: dict[str, float]) -> None:
    """Note for each layer the share of its inputs' dimensions in which it may still change."""
    for name, share in shares.items():
        learner.note(f"free_rank.{name}", learner.weights.value.new_tensor(share))


def rows_of(task: Task, rows: int | None, random: torch.Generator) -> Iterator[Batch]:
    """Training rows of a task at random, in batches of 32."""
    return task.batches(32, rows=rows, random=random)


def check_thresholds(
    method: str, option: float | list[float], increase: float, model: nn.Module, setting: Setting
) -> None:
    """Refuse thresholds that are not one for each layer, or that grow to 1, where no direction is left to train in.

    Args:
        method: its name, for the message.
        option: one threshold for all layers or one for each.
        increase: what is added to them with each task.

    Raises:
        UserError: they are that.
    """
    highest = max(thresholds_of(method, option, model).values(), default=0.0)
    steps = setting.tasks - 2  # the last task trains beside the basis of the one before
    if increase and highest < 1 <= highest + increase * steps:
        what = f"lets the threshold of {highest:g} grow to 1 within {setting.tasks} tasks, which holds all directions"
        mend = f"Use less than {(1 - highest) / steps:.2g}"
        raise UserError(f"strategy.methods.{method}.increase={increase:g}", what, mend)


def thresholds_of(method: str, option: float | list[float], model: nn.Module) -> dict[str, float]:
    """The threshold of each linear or convolutional layer, where an option gives one for all or one for each.

    Args:
        method: its name, for the message.

    Raises:
        UserError: there are not as many as layers.
    """
    names = [name for name, module in model.named_modules() if isinstance(module, (nn.Linear, *_CONVOLUTIONS))]
    if not isinstance(option, list):
        return dict.fromkeys(names, option)
    if len(option) != len(names):
        where = f"strategy.methods.{method}.threshold=[{','.join(map(str, option))}]"
        what = f"has {len(option)} numbers, and the model has {len(names)} layers"
        raise UserError(where, what, f"Give {len(names)}, or one for all")
    return dict(zip(names, option, strict=True))
