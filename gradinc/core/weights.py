"""All trainable weights as one vector, and their gradient as another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Weights:
    """The weights of a model as one vector `value`, and their gradient as one vector `grad`.

    Every parameter of the model becomes a view of `value`, and its ``.grad`` a view of `grad`, so
    that autograd accumulates straight into the vector, and a dot product, a norm or a projection
    over all weights is one kernel. Build it after the model is on its device and before the
    optimizer.

    Args:
        heads: the outputs of each task's own head, where there are several: they are rows of the model's last
            linear layer, and the optimizer gets them as slices of their own.
        waits: micro-batches between two updates of the weights that wait longer than the window, by their
            names; slices of their own too. There are heads or weights that wait, not both.

    Attributes:
        value: shape (P,), the weights, in the order of ``model.named_parameters()``.
        grad: shape (P,), their gradient.
        names: the parameters' names, in that order.
        channels_last: for each whether it lies in memory with its channels last, as the vector then has it.
    """

    def __init__(self, model: nn.Module, heads: Sequence[range] = (), waits: Mapping[str, int] | None = None) -> None:
        named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        self.names: list[str] = [name for name, _ in named]
        self.parameters: list[nn.Parameter] = [p for _, p in named]
        self.shapes: list[torch.Size] = [p.shape for p in self.parameters]
        sizes = [p.numel() for p in self.parameters]
        ends = torch.tensor(sizes).cumsum(0).tolist()
        self.spans: list[tuple[int, int]] = [(end - size, end) for size, end in zip(sizes, ends, strict=True)]
        self.channels_last: list[bool] = [_channels_last(p) for p in self.parameters]
        self.value: Tensor = self.flatten([p.detach() for p in self.parameters])
        self.grad: Tensor = torch.zeros_like(self.value)
        for p, value, grad in zip(self.parameters, self.views(self.value), self.views(self.grad), strict=True):
            p.data = value
            p.grad = grad
        self._heads = list(heads)
        self._output = output_layer(model) if heads else None
        self._waits = dict(waits or {})
        self._resting: dict[int, list[tuple[nn.Parameter, Tensor]]] = {}

    def __len__(self) -> int:
        return self.value.numel()

    def views(self, vector: Tensor) -> list[Tensor]:
        """The layers of a vector of shape (P,), each in its parameter's shape."""
        views = []
        for (a, b), shape, last in zip(self.spans, self.shapes, self.channels_last, strict=True):
            if last:
                out, channels, height, width = shape
                views.append(vector[a:b].view(out, height, width, channels).permute(0, 3, 1, 2))
            else:
                views.append(vector[a:b].view(shape))
        return views

    def flatten(self, layers: Sequence[Tensor], out: Tensor | None = None, rows: int | None = None) -> Tensor:
        """One vector of shape (P,) from tensors in the parameters' shapes: the inverse of `views`.

        Args:
            layers: one tensor for each parameter.
            out: where to write it.
            rows: how many of each there are, along a dimension before the others; gives shape (rows, P).
        """
        shape = (-1,) if rows is None else (rows, -1)
        pairs = zip(layers, self.channels_last, strict=True)
        return torch.cat([(x.movedim(-3, -1) if last else x).reshape(shape) for x, last in pairs], dim=-1, out=out)

    def layers(self, vector: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Pairs of a parameter's name and its view of a vector of shape (P,)."""
        return zip(self.names, self.views(vector), strict=True)

    def slices(self, same: Callable[[str], object] = lambda name: None) -> dict[object, list[Any]]:
        """The weights as the fewest contiguous slices, grouped by `same`: what an optimizer steps.

        Args:
            same: maps a parameter's name to the group that it belongs to.

        Returns:
            For each group its slices: leaf tensors whose data are views of `value` and whose
            ``.grad`` are views of `grad`. With one group that is one slice, the whole vector. Where tasks have
            heads, the slices of each head are an optimizer's parameter group of their own: a head that rests
            must not share its counters with one that moves.
        """
        runs: list[tuple[object, int | None, int, int]] = []
        for name, rests, a, b in self._pieces():
            group = same(name)
            if runs and runs[-1][:2] == (group, rests):
                runs[-1] = (group, rests, runs[-1][2], b)
            else:
                runs.append((group, rests, a, b))
        groups: dict[object, list[Any]] = {}
        resting: dict[tuple[object, int], list[nn.Parameter]] = {}
        for group, rests, a, b in runs:
            leaf = self._leaf(self.value[a:b], self.grad[a:b], rests)
            if rests is None:
                groups.setdefault(group, []).append(leaf)
            else:
                resting.setdefault((group, rests), []).append(leaf)
        for group in {group for group, _ in resting}:
            own = [{"params": leaves} for (other, _), leaves in resting.items() if other == group]
            groups[group] = [{"params": groups[group]}, *own] if group in groups else own
        return groups

    @property
    def has_heads(self) -> bool:
        """Whether tasks have heads of their own."""
        return bool(self._heads)

    @property
    def waits(self) -> list[int]:
        """The micro-batches that some weights wait, each number once."""
        return sorted(set(self._waits.values()))

    def waiting(self, size: int) -> list[tuple[int, int]]:
        """The fewest contiguous parts of the vector that the weights make up which wait so many micro-batches."""
        spans: list[tuple[int, int]] = []
        for name, (a, b) in zip(self.names, self.spans, strict=True):
            if self._waits.get(name) != size:
                continue
            if spans and spans[-1][1] == a:
                spans[-1] = (spans[-1][0], b)
            else:
                spans.append((a, b))
        return spans

    def wake(self, chosen: Iterable[int]) -> None:
        """Let the next step of the optimizer move these heads only, or of the weights that wait those that are due.

        The others rest, and so do momentum and decay there.

        Args:
            chosen: numbers of heads; or for how many micro-batches the weights have waited.
        """
        awake = set(chosen)
        for rests, leaves in self._resting.items():
            for leaf, grad in leaves:
                leaf.grad = grad if rests in awake else None

    def _pieces(self) -> Iterator[tuple[str, int | None, int, int]]:
        """The layers' names and spans, with the output layer cut into its heads, and what they rest by if they do."""
        for name, (a, b), shape in zip(self.names, self.spans, self.shapes, strict=True):
            if self._output is None or name.rpartition(".")[0] != self._output:
                yield name, self._waits.get(name), a, b
                continue
            row = (b - a) // shape[0]
            for head, outputs in enumerate(self._heads):
                yield name, head, a + outputs.start * row, a + outputs.stop * row

    def matrices(self, names: Sequence[str]) -> list[nn.Parameter]:
        """The named layers as leaf tensors, one row for each output: what Muon steps.

        Args:
            names: names of parameters with two dimensions or more.

        Returns:
            Leaf tensors of shape (outputs, everything else), in the order of `names`.
        """
        spans = dict(zip(self.names, zip(self.spans, self.shapes, strict=True), strict=True))
        return [
            self._leaf(self.value[a:b].view(shape[0], -1), self.grad[a:b].view(shape[0], -1), self._waits.get(name))
            for name, ((a, b), shape) in ((name, spans[name]) for name in names)
        ]

    def first_not_finite(self, vector: Tensor) -> str | None:
        """The name of the first layer of a vector of shape (P,) that holds a NaN or an Inf."""
        for name, layer in self.layers(vector):
            if not bool(torch.isfinite(layer).all()):
                return name
        return None

    def _leaf(self, value: Tensor, grad: Tensor, rests: int | None) -> nn.Parameter:
        leaf = nn.Parameter(value)
        leaf.data = value
        leaf.grad = grad
        if rests is not None:
            self._resting.setdefault(rests, []).append((leaf, grad))
        return leaf


def output_layer(model: nn.Module) -> str | None:
    """The name of the model's last linear layer, or None where there is none."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return linear[-1] if linear else None


def _channels_last(p: Tensor) -> bool:
    return p.dim() == 4 and not p.is_contiguous() and p.is_contiguous(memory_format=torch.channels_last)
