"""Layers as matrices, and their inputs: outputs = inputs · matrixᵀ, for linear and convolutional layers alike.

A layer's matrix has a row for each output. The inputs of a convolution are the patches under its kernel. A bias is the
last column of the matrix, with the input 1. A change of the matrix that is orthogonal to all past inputs of a layer
leaves the outputs for these inputs unchanged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.core.criterion import Criterion
from gradinc.core.normalization import NORMS
from gradinc.core.row_layers import patches
from gradinc.core.view import LearnerView
from gradinc.core.weights import output_layer
from gradinc.data.batch import Batch

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def check_matrix_layers(method: str, model: nn.Module) -> None:
    """Refuse a model with trainable weights outside linear and plain convolutional layers and normalisations.

    Args:
        method: name of the method, for the message.

    Raises:
        UserError: the model has such weights.
    """
    for name, module in model.named_modules():
        if any(p.requires_grad for p in module.parameters(recurse=False)) and not _is_handled(module):
            layer = f"{name} ({type(module).__name__})" if name else type(module).__name__
            what = f"works on linear and plain convolutional layers, and this model's {layer} is neither"
            fix = "Use model=mlp, linear, cnn or resnet18, or strategy=agem"
            if name:
                fix += f"; model.freeze=[{name}] does not train it"
            raise UserError(f"strategy.methods.{method}", what, fix)


def _is_handled(module: nn.Module) -> bool:
    if isinstance(module, CONVOLUTIONS):
        return module.groups == 1 and module.padding_mode == "zeros"
    return isinstance(module, (nn.Linear, *NORMS))


def held_layers(learner: LearnerView) -> dict[str, nn.Module]:
    """Return the linear and convolutional layers whose outputs for past inputs must stay unchanged.

    These are all layers, except an output layer with separate rows for each task: the other tasks' rows are masked.
    """
    trained, own = set(learner.weights.names), own_outputs(learner.criterion)
    last = output_layer(learner.model) if own else None
    return {
        name: module
        for name, module in learner.model.named_modules()
        if isinstance(module, (nn.Linear, *CONVOLUTIONS)) and f"{name}.weight" in trained and name != last
    }


def own_outputs(criterion: Criterion) -> bool:
    """Return whether each task has its own outputs and other tasks' outputs are masked, in training and in testing."""
    outputs = getattr(criterion, "outputs", None)
    if outputs is None or (outputs.train, outputs.test) != ("task", "task"):
        return False
    return int((outputs.of_task == 0).sum(0).max()) == 1


def inputs_of(learner: LearnerView, batch: Batch) -> dict[str, Tensor]:
    """Return the inputs of each protected layer for a batch, by the layer's name, in evaluation mode.

    Returns:
        Shape (rows, positions, n), float64; a linear layer has as many positions as its input, or 1.
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
        dims = len(module.kernel_size)
        x = (
            patches(module, x)
            .movedim(1, 1 + dims)
            .reshape(rows, -1, module.in_channels * math.prod(module.kernel_size))
        )
    return x if module.bias is None else torch.cat((x, x.new_ones(*x.shape[:2], 1)), 2)


def second_moments(
    learner: LearnerView, batches: Iterable[Batch], *, means: bool = False
) -> tuple[dict[str, Tensor], float]:
    """Return Σ x xᵀ over all inputs x of each protected layer, shape (n, n), float64; and the number of rows.

    Args:
        means: use the mean input at each position over a batch as x, so that a batch gives one x per position.
    """
    moments: dict[str, Tensor] = {}
    rows = 0.0
    for batch in batches:
        rows += len(batch.x)
        for name, inputs in inputs_of(learner, batch).items():
            inputs = inputs.mean(0) if means else inputs.flatten(0, 1)
            moments[name] = moments.get(name, 0) + inputs.T @ inputs
    return moments, rows
