"""The forward and backward passes of training. Every pass of a run goes through this module, which counts its rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from gradinc.core.criterion import Criterion
from gradinc.core.notes import Notes
from gradinc.core.place import Place
from gradinc.core.row_gradients import Entries, RowGradients
from gradinc.core.row_layers import Call, RowLayers
from gradinc.core.weights import Weights
from gradinc.core.work import Work
from gradinc.data.batch import Batch, items_of

Objective = Callable[[Batch, Tensor], Tensor]
"""Function from a batch and the model's output for it to the loss of each row, shape (rows,)."""

ROWS_TOGETHER = 32
"""Rows that go through the model together where each has many numbers of its own: gradients, or inputs of layers."""


class Passes:
    """Forward and backward passes of a model.

    Args:
        model: on its device; its parameters are views of `weights`.
        place: position in training, from which the seeds of dropout masks are derived.
        autocast: the lower precision that forward passes run in, or None.
        by_row: whether the rule needs the gradient of each row of the window (`Rule.by_row`).

    Attributes:
        work: the rows that went through the model.
        notes: numbers for the log.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: Weights,
        criterion: Criterion,
        place: Place,
        *,
        autocast: torch.dtype | None = None,
        by_row: bool = False,
    ) -> None:
        self.model, self.weights, self.criterion, self.place = model, weights, criterion, place
        self.device = weights.value.device
        self.work, self.notes = Work(), Notes(self.device)
        self.autocast = autocast
        self.layers = RowLayers(model, weights)
        self._by_row = by_row and self.layers.factored(evaluated=False)
        self._calls: list[Call] = []
        self._watched: list[tuple[str, Callable[[Tensor], None]]] = []
        self._factors: dict[float, Tensor] = {}
        self._drops = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in model.modules())
        self._norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
        # A recurrent layer without dropout is the same in both modes, but cuDNN has no backward pass in evaluation
        # mode.
        self._modal = [m for m in model.modules() if not (isinstance(m, nn.RNNBase) and m.dropout == 0)]

    # ---- forward ----

    def forward(self, batch: Batch) -> Tensor:
        """Return the model's output for a batch, shape (rows, outputs)."""
        self.work.forward_rows += len(batch.x)
        if self.autocast is None:
            return self.model(batch.x)
        with torch.autocast(self.device.type, dtype=self.autocast):
            out: Tensor = self.model(batch.x)
        return out.float()

    def train(self, batch: Batch) -> Tensor:
        """Return the model's output for a micro-batch of the window, with the micro-batch's own dropout masks."""
        if self._drops:
            self._reseed(self.place.index)
        if self._watched:
            with self._watching():
                return self._train(batch)
        return self._train(batch)

    def watch(self, layer: str, receive: Callable[[Tensor], None]) -> None:
        """Give the inputs of a layer, detached, to a function in the next `train`, for a method's `batch`."""
        self._watched.append((layer, receive))

    @contextmanager
    def _watching(self) -> Iterator[None]:
        with ExitStack() as hooks:
            for layer, receive in self._watched:
                hook = partial(_received, receive)
                hooks.callback(self.model.get_submodule(layer).register_forward_pre_hook(hook).remove)
            self._watched = []
            yield

    def _train(self, batch: Batch) -> Tensor:
        if not self._by_row:
            return self.forward(batch)
        with self.layers.recorded() as self._calls:
            return self.forward(batch)

    @contextmanager
    def undisturbed(self, index: int) -> Iterator[None]:
        """Keep BatchNorm's statistics, generators and gradient mode unchanged by passes in training mode inside.

        Args:
            index: number of the micro-batch in its window, for its dropout masks.
        """
        tracking = [norm.track_running_stats for norm in self._norms]
        cuda = [self.device.index or 0] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda) if self._drops else nullcontext(), torch.enable_grad():
            if self._drops:
                self._reseed(index)
            for norm in self._norms:
                norm.track_running_stats = False
            try:
                yield
            finally:
                for norm, track in zip(self._norms, tracking, strict=True):
                    norm.track_running_stats = track

    @contextmanager
    def evaluation(self) -> Iterator[None]:
        """Put the model into evaluation mode; on exit every module has its previous mode, also fixed BatchNorms."""
        modes = [module.training for module in self._modal]
        for module in self._modal:
            module.training = False
        try:
            yield
        finally:
            for module, mode in zip(self._modal, modes, strict=True):
                module.training = mode

    # ---- backward ----

    def collect(self, objective: Tensor, factor: float, batch: Batch, *, first: bool, norm: bool) -> Tensor | None:
        """Add the gradient of a micro-batch's objective, times a factor, to the window's vector.

        Args:
            first: whether it is the window's first micro-batch, whose gradient overwrites the vector.
            norm: whether to return its squared norm.

        Returns:
            The squared norm of the added gradient, or None.
        """
        self.work.backward_rows += len(batch.x)
        return self.weights.backward(objective, self._factor(factor), first=first, norm=norm)

    def part(self, objective: Tensor, factor: float, batch: Batch, out: Tensor | None = None) -> Tensor:
        """Return the gradient of a micro-batch's objective times a factor, shape (P,), separately.

        Args:
            out: the tensor to write to.
        """
        return self.vector(objective, batch, self._factor(factor), out)

    def vector(self, scalar: Tensor, batch: Batch, factor: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """Return the gradient of any scalar of a batch's rows times a factor, shape (P,).

        Weights that the scalar does not depend on get 0.
        """
        self.work.backward_rows += len(batch.x)
        return self.weights.gradient(scalar, factor, out)

    def rows_of(self, objective: Tensor, batch: Batch, together: int) -> Iterator[RowGradients]:
        """Yield the gradients of a micro-batch's rows, each times the row's weight, from its forward pass in `train`.

        Args:
            together: rows whose gradients are in memory together, if the gradients have no factored form.
        """
        if not self._by_row:
            yield from self.rows_again(batch, together)
            return
        self.work.backward_rows += len(batch.x)
        yield self.layers.gradients(objective, self._calls, len(batch.x))
        self._calls = []

    def rows_again(self, batch: Batch, together: int) -> Iterator[RowGradients]:
        """Yield the same as `rows_of`, from another pass with the same dropout masks."""
        return self._each(batch, self._weighted, False, self.place.index, together)

    # ---- for methods: see LearnerView ----

    def gradient(self, batch: Batch, objective: Objective | None = None, *, evaluated: bool = False) -> Tensor:
        self.weights.reach(batch)
        with self._mode(evaluated, self.place.here):
            out = self.forward(batch)
            if objective is None:
                return self.vector(self.criterion.mean(batch, out), batch)
            loss = objective(batch, out)
            mean = (
                loss.mean()
                if batch.weight is None
                else (loss * batch.weight).sum() / items_of(len(loss), batch.weight, None)
            )
            return self.vector(mean, batch)

    def row_gradients(
        self,
        batch: Batch,
        objective: Objective | None = None,
        *,
        evaluated: bool = False,
        together: int = ROWS_TOGETHER,
    ) -> Iterator[RowGradients]:
        self.weights.reach(batch)
        yield from self._each(batch, objective or self.criterion, evaluated, self.place.here, together)

    def input_gradient(self, batch: Batch, objective: Objective | None = None) -> Tensor:
        with torch.enable_grad(), self.evaluation():
            x = batch.x.detach().requires_grad_()
            rows = replace(batch, x=x)
            loss = (objective or self.criterion)(rows, self.forward(rows)).sum()
            self.work.backward_rows += len(x)
            (slope,) = torch.autograd.grad(loss, x, allow_unused=True, materialize_grads=True)
        return slope

    def outputs(self, batch: Batch) -> Tensor:
        with torch.no_grad(), self.evaluation():
            return self.forward(batch)

    # ---- inside ----

    def _factor(self, value: float) -> Tensor:
        """Return a factor as a tensor: as the initial gradient of the backward pass, it needs no node in the graph."""
        factor = self._factors.get(value)
        if factor is None:
            if len(self._factors) > 1000:  # row weights that depend on the data give a new factor each time
                self._factors.clear()
            dtype = torch.float32 if self.autocast is not None else self.weights.value.dtype
            # `torch.tensor` would copy it from the host, and on a GPU wait for all passes so far.
            factor = self._factors[value] = torch.full((), value, dtype=dtype, device=self.device)
        return factor

    def _reseed(self, index: int) -> None:
        # nn.Dropout takes no generator, so the device's default one is set for every micro-batch.
        seed = self.place.derived("dropout", index)
        if self.device.type == "cuda":
            torch.cuda.default_generators[self.device.index or 0].manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)

    def _weighted(self, batch: Batch, out: Tensor) -> Tensor:
        loss = self.criterion(batch, out)
        return loss if batch.weight is None else loss * batch.weight

    @contextmanager
    def _mode(self, evaluated: bool, index: int) -> Iterator[None]:
        """Record gradients inside, in evaluation mode or with the dropout masks of the micro-batch with this number."""
        with torch.enable_grad(), self.evaluation() if evaluated else self.undisturbed(index):
            yield

    def _each(
        self, batch: Batch, objective: Objective, evaluated: bool, index: int, together: int
    ) -> Iterator[RowGradients]:
        """Yield the gradients of the rows' own losses, for all rows together if they have a factored form."""
        rows = len(batch.x)
        if self.layers.factored(evaluated=evaluated):
            with self._mode(evaluated, index):
                with self.layers.recorded() as calls:
                    out = self.model(batch.x)
                self.work.forward_rows += rows
                self.work.backward_rows += rows
                found = self.layers.gradients(objective(batch, out).sum(), calls, rows)
            yield found
            return
        for first in range(0, rows, together):
            with self._mode(evaluated, index):
                found = self._one_by_one(batch.rows(first, min(first + together, rows)), objective)
            yield found

    def _one_by_one(self, batch: Batch, objective: Objective) -> RowGradients:
        """Return the gradient of each row's own loss, from a separate pass for each row."""
        rows = len(batch.x)
        self.work.forward_rows += rows
        self.work.backward_rows += rows
        if any(isinstance(module, nn.RNNBase) for module in self.model.modules()):  # `vmap` does not support it
            alone = (batch.rows(row, row + 1) for row in range(rows))
            each = torch.stack([self.weights.gradient(objective(row, self.model(row.x)).sum()) for row in alone])
        else:
            each = self._mapped(batch, objective)
        return RowGradients([Entries(each[:, start:stop]) for start, stop in self.weights.spans])

    def _mapped(self, batch: Batch, objective: Objective) -> Tensor:
        """Return the gradient of each row's own loss, shape (rows, P)."""
        parameters = dict(self.model.named_parameters())
        trained = {name: parameters.pop(name).detach() for name in self.weights.names}
        rest = {**parameters, **dict(self.model.named_buffers())}
        fields = {name: getattr(batch, name) for name in ("x", "y", "weight", "tasks", "mask")}

        def loss(weights: dict[str, Tensor], row: dict[str, Tensor]) -> Tensor:
            row = {name: field.unsqueeze(0) for name, field in row.items()}
            out = torch.func.functional_call(self.model, (weights, rest), (row["x"],))
            tasks, mask = row.get("tasks"), row.get("mask")
            own = Batch(row["x"], row["y"], batch.task, 1, row.get("weight"), tasks, mask=mask)
            return objective(own, out).squeeze(0)

        rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0), randomness="different")
        grads = rows(trained, {name: field for name, field in fields.items() if field is not None})
        return self.weights.flatten([grads[name] for name in self.weights.names], rows=len(batch.x))


def _received(receive: Callable[[Tensor], None], module: nn.Module, given: tuple[Tensor, ...]) -> None:
    receive(given[0].detach())
