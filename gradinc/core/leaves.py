"""What an optimizer steps: slices of the weights' vector as leaf tensors, some of which rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class Layer(NamedTuple):
    """A parameter of the model and its place in the vector."""

    name: str
    start: int
    stop: int
    shape: torch.Size


class Leaves:
    """The leaf tensors that an optimizer steps, as views of a model's weights.

    Args:
        value, grad: shape (P,), the weights and their gradient.
        layers: the parameters in the order of the vector.
        output: name of the output layer, where each task has a head of its own in it, else None.
        heads: the outputs of each head.
        waits: micro-batches between two updates of the weights that wait longer than the window, by their names.
    """

    def __init__(
        self,
        value: Tensor,
        grad: Tensor,
        layers: Sequence[Layer],
        output: str | None,
        heads: Sequence[range],
        waits: Mapping[str, int],
    ) -> None:
        self._value, self._grad, self._layers = value, grad, layers
        self._output, self._heads, self._waits = output, heads, waits
        self._resting: dict[int, list[tuple[nn.Parameter, Tensor]]] = {}

    def slices(self, same: Callable[[str], object] = lambda name: None) -> dict[object, list[Any]]:
        """The weights as the fewest contiguous slices, grouped by `same`: what an optimizer steps.

        Args:
            same: maps a parameter's name to the group that it belongs to.

        Returns:
            For each group its slices: leaf tensors whose data are views of `Weights.value` and whose
            ``.grad`` are views of `Weights.grad`. With one group that is one slice, the whole vector. Where tasks have
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
            leaf = self._leaf(self._value[a:b], self._grad[a:b], rests)
            if rests is None:
                groups.setdefault(group, []).append(leaf)
            else:
                resting.setdefault((group, rests), []).append(leaf)
        for group in {group for group, _ in resting}:
            own = [{"params": leaves} for (other, _), leaves in resting.items() if other == group]
            groups[group] = [{"params": groups[group]}, *own] if group in groups else own
        return groups

    @property
    def waits(self) -> list[int]:
        """The micro-batches that some weights wait, each number once."""
        return sorted(set(self._waits.values()))

    def waiting(self, size: int) -> list[tuple[int, int]]:
        """The fewest contiguous parts of the vector that the weights make up which wait so many micro-batches."""
        spans: list[tuple[int, int]] = []
        for name, a, b, _ in self._layers:
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

    def matrices(self, names: Sequence[str]) -> list[nn.Parameter]:
        """The named layers as leaf tensors, one row for each output: what Muon steps.

        Args:
            names: names of parameters with two dimensions or more.

        Returns:
            Leaf tensors of shape (outputs, everything else), in the order of `names`.
        """
        layers = {layer.name: layer for layer in self._layers}
        found = []
        for name in names:
            _, a, b, shape = layers[name]
            value, grad = (vector[a:b].view(shape[0], -1) for vector in (self._value, self._grad))
            found.append(self._leaf(value, grad, self._waits.get(name)))
        return found

    def _pieces(self) -> Iterator[tuple[str, int | None, int, int]]:
        """The layers' names and spans, with the output layer cut into its heads, and what they rest by if they do."""
        for name, a, b, shape in self._layers:
            if self._output is None or name.rpartition(".")[0] != self._output:
                yield name, self._waits.get(name), a, b
                continue
            row = (b - a) // shape[0]
            for head, outputs in enumerate(self._heads):
                yield name, head, a + outputs.start * row, a + outputs.stop * row

    def _leaf(self, value: Tensor, grad: Tensor, rests: int | None) -> nn.Parameter:
        leaf = nn.Parameter(value)
        leaf.data = value
        leaf.grad = grad
        if rests is not None:
            self._resting.setdefault(rests, []).append((leaf, grad))
        return leaf
