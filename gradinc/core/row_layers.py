"""Layers whose gradients of single rows have a factored form (`gradinc.core.row_gradients`), and how it is recorded.

One forward pass keeps each layer's input, and one backward pass gives the gradients of the layers' outputs. The
gradients of the weights themselves are never computed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from gradinc.core.row_gradients import Entries, Factor, Outer, RowGradients
from gradinc.core.weights import Weights

_BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

_PLAIN = (
    *(nn.Sequential, nn.ModuleList, nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout),
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Hardtanh, nn.Hardswish),
    *(nn.Hardsigmoid, nn.Softplus, nn.Softsign, nn.Tanh, nn.Sigmoid, nn.LogSigmoid, nn.Softmax2d),
    *(nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d),
    *(nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d),
    *(nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d, nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d),
)
"""Modules without weights of their own that treat each row alone."""


class Call(NamedTuple):
    """A layer's input in a forward pass, and the place of its output in the graph of this pass.

    The place still belongs to the layer's output if the output is changed in place afterwards.
    """

    layer: str
    inputs: Tensor
    output: GradientEdge


class RowLayers:
    """The layers of a model, for gradients of single rows.

    Attributes:
        unknown: the first layer that has no factored form, with its type; None if every layer has one. A module of
            another class than PyTorch's declares with the class attribute ``rowwise = True`` that its `forward` treats
            each row alone and uses weights only by calling the layers that have them; with ``rowwise_inside = True`` it
            declares that also for the modules inside it that have no trained weights of their own.
    """

    def __init__(self, model: nn.Module, weights: Weights) -> None:
        self._weights = weights
        trained, modules = set(weights.names), dict(model.named_modules())
        self._layers = {
            name: module
            for name, module in modules.items()
            if any(_joined(name, own) in trained for own, _ in module.named_parameters(recurse=False))
        }
        self._channels_last = {
            name.rpartition(".")[0] for name, last in zip(weights.names, weights.channels_last, strict=True) if last
        }
        self._norms = [module for module in modules.values() if isinstance(module, _BATCH_NORMS)]
        inside = [f"{name}." if name else "" for name, module in modules.items() if _vouches(module)]
        unknown = next(
            (
                (name, type(module).__name__)
                for name, module in modules.items()
                if not _known(module) and (name in self._layers or not any(name.startswith(outer) for outer in inside))
            ),
            None,
        )
        self.unknown = None if unknown is None else f"{unknown[0] or 'the model'} ({unknown[1]})"
        every = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
        if len(set(every)) < len(every):
            self.unknown = "a weight that two layers share"

    def factored(self, *, evaluated: bool) -> bool:
        """Return whether every row's gradient has a factored form, in evaluation mode or in the modules' current modes.

        Batch normalisation by a batch's own statistics mixes the rows.
        """
        if self.unknown is not None:
            return False
        return not any((norm.training and not evaluated) or norm.running_mean is None for norm in self._norms)

    @contextmanager
    def recorded(self) -> Iterator[list[Call]]:
        """Record the layers' calls in order, during the forward pass inside."""
        calls: list[Call] = []

        def record(layer: str, module: nn.Module, given: tuple[Tensor, ...], out: Tensor) -> None:
            calls.append(Call(layer, given[0].detach(), get_gradient_edge(out)))

        with ExitStack() as hooks:
            for name, module in self._layers.items():
                hooks.callback(module.register_forward_hook(partial(record, name)).remove)
            yield calls

    def gradients(self, scalar: Tensor, calls: Sequence[Call], rows: int) -> RowGradients:
        """Return the gradients of a sum over rows, by one backward pass.

        Args:
            scalar: the sum of the rows' own losses.
            calls: the layers' calls in its forward pass.
            rows: number of rows.
        """
        weights, like = self._weights, self._weights.value
        slopes = torch.autograd.grad(scalar, [call.output for call in calls], allow_unused=True)
        found: dict[str, list[Factor]] = {name: [] for name in weights.names}
        for call, slope in zip(calls, slopes, strict=True):
            if slope is None:
                continue
            module, inputs = self._layers[call.layer], call.inputs
            inputs = inputs.to(like.dtype) if inputs.is_floating_point() else inputs
            factors = FACTORS[type(module)](module, inputs, slope.to(like.dtype), call.layer in self._channels_last)
            for kind, factor in zip(("weight", "bias"), factors, strict=False):
                if (name := _joined(call.layer, kind)) in found:
                    found[name].append(factor)
        sizes = [stop - start for start, stop in weights.spans]
        return RowGradients(
            [_one(found[name], rows, size, like) for name, size in zip(weights.names, sizes, strict=True)]
        )


def patches(module: Any, x: Tensor) -> Tensor:
    """Return the patches under the kernel of a convolution, shape (rows, channels, *positions, *kernel)."""
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    x = F.pad(x, module._reversed_padding_repeated_twice, mode)
    sizes = zip(module.kernel_size, module.stride, module.dilation, strict=True)
    for dim, (size, stride, dilation) in enumerate(sizes, start=2):
        x = x.unfold(dim, dilation * (size - 1) + 1, stride)[..., ::dilation]
    return x


# ---- the factors of each kind of layer: of its weight, and of its bias ----


def _linear(module: Any, x: Tensor, slope: Tensor, last: bool) -> Sequence[Factor]:
    left = slope.reshape(len(x), 1, -1, module.out_features)
    right = x.reshape(len(x), 1, -1, module.in_features)
    return Outer(left, right, module.weight.numel()), Entries(left.sum((1, 2)))


def _convolution(module: Any, x: Tensor, slope: Tensor, last: bool) -> Sequence[Factor]:
    left = slope.reshape(len(x), module.groups, module.out_channels // module.groups, -1).mT
    right = partial(_columns, module, last)
    return Outer(left, x, module.weight.numel(), right), Entries(slope.flatten(2).sum(2))


def _columns(module: Any, last: bool, x: Tensor) -> Tensor:
    """Return the patches as rows of a matrix, shape (rows, groups, positions, numbers of a patch).

    Args:
        last: whether the numbers of a patch have the channels last.
    """
    dims = len(module.kernel_size)
    x = patches(module, x).unflatten(1, (module.groups, -1))
    positions, kernel = range(3, 3 + dims), range(3 + dims, 3 + 2 * dims)
    x = x.permute(0, 1, *positions, *kernel, 2) if last else x.permute(0, 1, *positions, 2, *kernel)
    return x.flatten(2 + dims).flatten(2, 1 + dims)


def _embedding(module: Any, x: Tensor, slope: Tensor, last: bool) -> Sequence[Factor]:
    left = F.one_hot(x.reshape(len(x), 1, -1), module.num_embeddings).to(slope.dtype)
    if module.padding_idx is not None:
        left[..., module.padding_idx] = 0
    return (Outer(left, slope.reshape(len(x), 1, -1, module.embedding_dim), module.weight.numel()),)


def _layer_norm(module: Any, x: Tensor, slope: Tensor, last: bool) -> Sequence[Factor]:
    return _trailing(slope, F.layer_norm(x, module.normalized_shape, eps=module.eps), module)


def _rms_norm(module: Any, x: Tensor, slope: Tensor, last: bool) -> Sequence[Factor]:
    return _trailing(slope, F.rms_norm(x, module.normalized_shape, eps=module.eps), module)


def _trailing(slope: Tensor, x: Tensor, module: Any) -> Sequence[Factor]:
    shape = (len(x), -1, math.prod(module.normalized_shape))
    return tuple(Entries(each.reshape(shape).sum(1)) for each in (slope * x, slope))


def _group_norm(module: Any, x: Tensor, slope: Tensor, last: bool) -> Sequence[Factor]:
    return _channels(slope, F.group_norm(x, module.num_groups, eps=module.eps))


def _batch_norm(module: Any, x: Tensor, slope: Tensor, last: bool) -> Sequence[Factor]:
    return _channels(slope, F.batch_norm(x, module.running_mean, module.running_var, eps=module.eps))


def _channels(slope: Tensor, x: Tensor) -> Sequence[Factor]:
    return tuple(Entries(each.reshape(*x.shape[:2], -1).sum(2)) for each in (slope * x, slope))


FACTORS: dict[type[nn.Module], Callable[[Any, Tensor, Tensor, bool], Sequence[Factor]]] = {
    nn.Linear: _linear,
    **dict.fromkeys((nn.Conv1d, nn.Conv2d, nn.Conv3d), _convolution),
    nn.Embedding: _embedding,
    nn.LayerNorm: _layer_norm,
    nn.RMSNorm: _rms_norm,
    nn.GroupNorm: _group_norm,
    **dict.fromkeys(_BATCH_NORMS, _batch_norm),
}
"""For each kind of layer, the function from the layer, its inputs, the gradients of its outputs, and whether its weight
is stored with the channels last, to the factors."""


def _known(module: nn.Module) -> bool:
    """Return whether a module treats each row alone and, apart from its children, has a factored form."""
    kind = type(module)
    own = {name for name, _ in module.named_parameters(recurse=False)}
    if isinstance(module, nn.Embedding) and (module.max_norm is not None or module.scale_grad_by_freq or module.sparse):
        return False
    if kind in FACTORS:
        return own <= {"weight", "bias"}
    if kind is nn.Flatten or kind is nn.Unflatten:
        dim = module.start_dim if kind is nn.Flatten else module.dim
        return isinstance(dim, int) and dim > 0
    return not own and (kind in _PLAIN or vars(kind).get("rowwise") is True)


def _vouches(module: nn.Module) -> bool:
    return vars(type(module)).get("rowwise_inside") is True


def _joined(layer: str, name: str) -> str:
    return f"{layer}.{name}" if layer else name


def _one(found: Sequence[Factor], rows: int, size: int, like: Tensor) -> Factor:
    """Return the sum of a parameter's gradients over the calls of its layer."""
    if not found:
        return Outer(like.new_empty(rows, 1, 0, 1), like.new_empty(rows, 1, 0, size), size)
    return found[0] if len(found) == 1 else Entries(torch.stack([factor.rows() for factor in found]).sum(0))
