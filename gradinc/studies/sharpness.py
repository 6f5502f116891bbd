"""The sharpness of a loss: the largest eigenvalue of its Hessian."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradinc.base.randomness import generator
from gradinc.core.criterion import Criterion
from gradinc.data.batch import Batch
from gradinc.data.stream import open_stream
from gradinc.runs.build import build_criterion
from gradinc.runs.class_weights import with_class_weights
from gradinc.runs.device import choose_device, choose_threads, pin
from gradinc.runs.trained import FinishedRun

_CHUNK = 256
"""Rows in one pass; fixed, since the last bits of a sum depend on it."""

MARGIN = 1.05
"""Shift of all eigenvalues, as a multiple of the largest one found, by magnitude."""


@dataclass(frozen=True)
class Eigenvalue:
    """The largest eigenvalue of a symmetric matrix.

    Attributes:
        value: the largest eigenvalue; negative if all eigenvalues are negative.
        dominant: the eigenvalue of the largest magnitude, or its approximation.
        residual: ‖Hv − λv‖ for the unit vector v that was found: some eigenvalue is no further from `value`.
        products: products of the matrix and a vector that were needed.
        converged: whether the residual is below the tolerance.
    """

    value: float
    dominant: float
    residual: float
    products: int
    converged: bool


def largest_eigenvalue(
    product: Callable[[Tensor], Tensor], start: Tensor, *, tolerance: float = 1e-3, iterations: int = 200
) -> Eigenvalue:
    """Compute the largest eigenvalue by power iteration.

    Power iteration converges to the eigenvalue of the largest magnitude. If this eigenvalue is negative, or two of
    opposite sign have the same magnitude, a second iteration uses H + sI with s slightly larger than this magnitude:
    its eigenvalues are all positive, and its largest corresponds to the largest of H.

    Args:
        product: H v for a vector v, shape (P,).
        start: any vector that is not orthogonal to the eigenvector, shape (P,).
        tolerance: residual at which to stop, as a share of the largest magnitude.
        iterations: largest number of products in each of the two iterations.
    """
    first = _iterate(product, start, 0.0, tolerance, iterations)
    if first.converged and first.value >= 0:
        return Eigenvalue(first.value, first.value, first.residual, first.products, True)
    second = _iterate(product, start, MARGIN * first.magnitude, tolerance, iterations)
    products = first.products + second.products
    return Eigenvalue(second.value, first.value, second.residual, products, second.converged)


@dataclass(frozen=True)
class _Iterated:
    value: float
    magnitude: float
    residual: float
    products: int
    converged: bool


def _iterate(
    product: Callable[[Tensor], Tensor], start: Tensor, shift: float, tolerance: float, iterations: int
) -> _Iterated:
    v = start / start.norm()
    magnitude = value = residual = 0.0
    for count in range(1, iterations + 1):
        w = product(v)
        value = float(v @ w)
        residual = float((w - value * v).norm())
        magnitude = max(magnitude, float(w.norm()))
        if residual <= tolerance * max(magnitude, shift):
            return _Iterated(value, magnitude, residual, count, True)
        w.add_(v, alpha=shift)
        v = w.div_(w.norm())
    return _Iterated(value, magnitude, residual, iterations, False)


class Hessian:
    """The Hessian of a model's mean loss over some rows, in evaluation mode, as products with vectors.

    Args:
        model: the model on its device; dropout is off and BatchNorm uses its running statistics.
        batches: returns the rows in chunks, the same ones at every call.
        watch: called after each product.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion,
        batches: Callable[[], Iterable[Batch]],
        watch: Callable[[], None] = lambda: None,
    ) -> None:
        self._model, self._criterion, self._batches, self._watch = model.eval(), criterion, batches, watch
        self._parameters = [p for p in model.parameters() if p.requires_grad]

    def start(self) -> Tensor:
        """Return the initial vector of power iteration, shape (P,), always the same."""
        count = sum(p.numel() for p in self._parameters)
        first = self._parameters[0]
        drawn = torch.randn(count, generator=generator(0, "sharpness"), dtype=torch.float64)
        return drawn.to(first.device, first.dtype)

    def __call__(self, vector: Tensor) -> Tensor:
        """Return H v, shape (P,)."""
        parts = vector.split([p.numel() for p in self._parameters])
        direction = [part.view(p.shape) for part, p in zip(parts, self._parameters, strict=True)]
        total, rows = torch.zeros_like(vector), 0.0
        for batch in self._batches():
            with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH):  # the faster kernels have no second derivative
                loss = self._criterion.total(batch, self._model(batch.x))
                first = torch.autograd.grad(loss, self._parameters, create_graph=True, materialize_grads=True)
                slope = sum(((g * d).sum() for g, d in zip(first, direction, strict=True)), loss.new_zeros(()))
                if slope.requires_grad:  # a loss that is linear in all weights has none
                    second = torch.autograd.grad(slope, self._parameters, materialize_grads=True)
                    total += torch.cat([h.reshape(-1) for h in second])
            terms = self._criterion.terms(batch.y)
            rows += batch.items if terms is None else float(terms.sum())
        self._watch()
        return total / rows


def sharpness(
    run: FinishedRun,
    *,
    rows: int = 2048,
    best: bool = False,
    device: str = "auto",
    tolerance: float = 1e-3,
    iterations: int = 200,
    watch: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure the sharpness of a finished run: of its mean loss over training rows of all tasks, without augmentation.

    Args:
        rows: number of training rows, evenly spread; 0 means all.
        best: whether to use the weights of the best validation, not the last ones.
        watch: called after every product.

    Returns:
        ``run``, ``weights``, ``rows``, ``tolerance`` and the fields of `Eigenvalue`, with ``value`` as ``sharpness``.

    Raises:
        UserError: the run has no such weights, or its data are missing.
    """
    chosen = choose_device(device)
    model = run.with_weights(best=best, device=chosen)
    pin(choose_threads(run.config.threads, model, run.shape.inputs, _CHUNK), chosen)
    dataset = run.dataset(device=chosen)
    stream = open_stream(run.config, dataset)
    tasks = [stream.part("train", task) for task in range(len(stream.experiences))]
    total = sum(len(part) for part in tasks)
    wanted = [-(-len(part) * min(rows or total, total) // total) for part in tasks]

    def batches() -> Iterator[Batch]:
        for task, (part, count) in enumerate(zip(tasks, wanted, strict=True)):
            for x, y in part.batches(torch.arange(count) * len(part) // max(count, 1), _CHUNK):
                yield Batch(x, y, task, float(len(y)))

    section = with_class_weights(run.config.criterion, stream)
    criterion = build_criterion(dataset, stream.outputs, section, stream.setting.outputs)
    hessian = Hessian(model, criterion, batches, watch)
    found = asdict(largest_eigenvalue(hessian, hessian.start(), tolerance=tolerance, iterations=iterations))
    return {
        "run": str(run.path),
        "weights": "best" if best else "last",
        "rows": sum(wanted),
        "sharpness": found.pop("value"),
        **found,
        "tolerance": tolerance,
    }
