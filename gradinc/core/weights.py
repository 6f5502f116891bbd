"""All trainable weights as one vector, and their gradient as another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

from gradinc.core.leaves import Layer, Leaves
from gradinc.data.batch import Batch


class Weights:
    """The weights of a model as one vector `value`, and their gradient as one vector `grad`.

    Every parameter of the model becomes a view of `value`, so that a step, a dot product, a norm or a projection over
    all weights is one kernel. If a window has one micro-batch, its gradient stays in autograd's own tensors until
    something asks for the vector: plain gradient descent then needs no copy. Create it after the model is on its device
    and before the optimizer.

    Args:
        heads: the outputs of each task's own head, if tasks have heads: rows of the model's last linear layer, which
            the optimizer receives as separate slices.
        waits: micro-batches between two updates, by the names of the weights with longer windows; they are separate
            slices, too. Heads and longer windows exclude each other.

    Attributes:
        value: shape (P,), the weights, in the order of ``model.named_parameters()``.
        names: the parameters' names, in the order of `value`.
        channels_last: for each parameter, whether it is stored with its channels last, in the vector too.
        leaves: the optimizer's slices.
        defers: whether the optimizer steps by `descend`; only then may the gradient stay in autograd's tensors.
        heads: as in the arguments.
        reached: tasks whose heads were used by a batch of the current window, if tasks have heads.
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
        # On the meta device `torch.cat` and `zeros_like` import a part of PyTorch that takes a second, once a process.
        self.value: Tensor = named[0][1].new_empty(sum(sizes))
        self._grad = self.value.new_zeros(len(self))
        self._values, self._grads = self.views(self.value), self.views(self._grad)
        self._first: tuple[Tensor, ...] | None = None  # the first micro-batch's gradient, before it is in the vector
        self.defers = self._waits = False
        for p, value in zip(self.parameters, self._values, strict=True):
            value.copy_(p.detach())
        for p, value, grad in zip(self.parameters, self._values, self._grads, strict=True):
            p.data = value
            p.grad = grad
        layers = [Layer(n, a, b, s) for n, (a, b), s in zip(self.names, self.spans, self.shapes, strict=True)]
        output = output_layer(model) if heads else None
        self.leaves = Leaves(self.value, self._grad, layers, output, heads, waits or {})
        self.heads = list(heads)
        self.reached: set[int] = set()

    def __len__(self) -> int:
        return self.value.numel()

    @property
    def grad(self) -> Tensor:
        """Return the gradient, shape (P,): always the same memory."""
        self._join()
        return self._grad

    def backward(self, objective: Tensor, factor: Tensor, *, first: bool, norm: bool) -> Tensor | None:
        """Add the gradient of an objective times a factor, both scalars, to `grad`; the first one overwrites `grad`.

        Returns:
            The squared norm of the added gradient if `norm` is true, else None.
        """
        if first:
            self._first = self._parts(objective, factor)
            if not self._waits:
                self._join()
            return torch.dot(self.grad, self.grad) if norm else None
        self._join()
        if not norm:
            objective.backward(factor)  # autograd adds to the views of the vector
            return None
        # The norms of the layers cost less than a second vector and a pass over it.
        parts = self._parts(objective, factor)
        square = torch.stack(torch._foreach_norm(parts)).square().sum()
        torch._foreach_add_(self._grads, parts)
        return square

    def descend(self, lr: float) -> None:
        """Subtract `lr` times the gradient from `value`; both branches round in the same way."""
        if self._first is None:
            self.value.add_(self._grad, alpha=-lr)
        else:
            torch._foreach_add_(self._values, self._first, alpha=-lr)

    def open(self, size: int) -> None:
        """Discard the gradient of the previous window; the next window has `size` micro-batches."""
        self._first = None
        self._waits = self.defers and size == 1

    def gradient(self, scalar: Tensor, factor: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Return the gradient of a scalar times a factor, shape (P,); weights that it does not depend on get 0."""
        return self.flatten(self._parts(scalar, factor), out)

    def views(self, vector: Tensor) -> list[Tensor]:
        """Return the layers of a vector of shape (P,), each in its parameter's shape."""
        views = []
        for (a, b), shape, last in zip(self.spans, self.shapes, self.channels_last, strict=True):
            if last:
                out, channels, height, width = shape
                views.append(vector[a:b].view(out, height, width, channels).permute(0, 3, 1, 2))
            else:
                views.append(vector[a:b].view(shape))
        return views

    def flatten(self, layers: Sequence[Tensor], out: Tensor | None = None, rows: int | None = None) -> Tensor:
        """Return one vector of shape (P,) from tensors in the parameters' shapes: the inverse of `views`.

        Args:
            layers: one tensor for each parameter.
            out: the tensor to write to.
            rows: number of copies of each parameter, along a first dimension; the result then has shape (rows, P).
        """
        shape = (-1,) if rows is None else (rows, -1)
        pairs = zip(layers, self.channels_last, strict=True)
        return torch.cat([(x.movedim(-3, -1) if last else x).reshape(shape) for x, last in pairs], dim=-1, out=out)

    def layers(self, vector: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Yield pairs of a parameter's name and its view of a vector of shape (P,)."""
        return zip(self.names, self.views(vector), strict=True)

    def reach(self, batch: Batch) -> None:
        """Record which tasks' heads a batch uses, if tasks have heads."""
        if self.heads:
            self.reached.update([batch.task] if batch.tasks is None else batch.tasks.unique().tolist(), batch.heads)

    def wake_heads(self) -> None:
        """Let the optimizer's next step move only the heads that were reached."""
        if self.heads:
            self.leaves.wake(self.reached)

    def rejoined(self) -> str | None:
        """Give every parameter its view of `grad` again, for a program that clears gradients itself.

        Returns:
            The name of a parameter that is no view of `value`, since the model was moved or converted, or that
            is frozen; or None.
        """
        for name, p, value, grad in zip(self.names, self.parameters, self._values, self._grads, strict=True):
            if p.data_ptr() != value.data_ptr() or p.dtype != value.dtype or not p.requires_grad:
                return name
            if p.grad is not grad:
                p.grad = grad
        return None

    def state_dict(self) -> list[int]:
        """Return the heads that were reached; the weights themselves are in the model's state."""
        return sorted(self.reached)

    def load_state_dict(self, state: list[int]) -> None:
        """Resume from the result of `state_dict`."""
        self.reached = set(state)

    def _join(self) -> None:
        if self._first is not None:
            torch._foreach_copy_(self._grads, self._first)
            self._first = None

    def _parts(self, scalar: Tensor, factor: Tensor | None) -> tuple[Tensor, ...]:
        """Return the gradient of a scalar times a factor, layer by layer."""
        return torch.autograd.grad(scalar, self.parameters, factor, allow_unused=True, materialize_grads=True)

    def first_not_finite(self, vector: Tensor) -> str | None:
        """Return the name of the first layer with a NaN or an Inf in a vector of shape (P,), or None."""
        for name, layer in self.layers(vector):
            if not bool(torch.isfinite(layer).all()):
                return name
        return None


def output_layer(model: nn.Module) -> str | None:
    """Return the name of the model's last linear layer, or None."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    return linear[-1] if linear else None


def _channels_last(p: Tensor) -> bool:
    if p.dim() != 4:
        return False
    _, channels, height, width = p.shape
    # The strides decide: a weight with one input channel or one pixel counts as contiguous in both formats, and the
    # convolution takes the slow format if its weight looks like it.
    return p.stride() == (height * width * channels, 1, width * channels, channels)
