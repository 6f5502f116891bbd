"""Leaf tensors for the optimizer: slices of the weights' vector, some of which may be skipped in a step."""

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
        output: name of the output layer if each task has its own head in it, else None.
        heads: the outputs of each head.
        waits: micro-batches between two updates, by the names of the weights with longer windows.
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
        """Return the weights as the fewest contiguous slices, grouped by `same`, for an optimizer.

        Args:
            same: maps a parameter's name to its group.

        Returns:
            The slices of each group: leaf tensors whose data are views of `Weights.value` and whose ``.grad`` are views
            of `Weights.grad`. With one group there is one slice, the whole vector. If tasks have heads, the slices of
            each head form a separate parameter group of the optimizer: a skipped head must not share the optimizer's
            step counters with an updated head.
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
        """Return the different numbers of micro-batches of the longer windows."""
        return sorted(set(self._waits.values()))

    def waiting(self, size: int) -> list[tuple[int, int]]:
        """Return the fewest contiguous spans of the vector with the weights whose window has `size` micro-batches."""
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
        """Let the optimizer's next step move only these heads, or only the layers whose longer window is due.

        The other slices are skipped, with their momentum and decay.

        Args:
            chosen: numbers of heads, or window sizes in micro-batches.
        """
        awake = set(chosen)
        for rests, leaves in self._resting.items():
            for leaf, grad in leaves:
                leaf.grad = grad if rests in awake else None

    def matrices(self, names: Sequence[str]) -> list[nn.Parameter]:
        """Return the named layers as leaf tensors for Muon, one row for each output.

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

    def layers(self) -> list[nn.Parameter]:
        """Return every layer as a leaf tensor: shape (outputs, everything else), or (n,) if it has one dimension."""
        found = []
        for name, a, b, shape in self._layers:
            form = (shape[0], -1) if len(shape) > 1 else (-1,)
            value, grad = (vector[a:b].view(form) for vector in (self._value, self._grad))
            found.append(self._leaf(value, grad, self._waits.get(name)))
        return found

    def _pieces(self) -> Iterator[tuple[str, int | None, int, int]]:
        """Yield names, key (a head or a window size) and spans of the layers, with the output layer cut into heads."""
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
