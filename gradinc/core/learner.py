"""The learner turns micro-batches into updates; nothing else calls ``backward`` or ``step``."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gradinc.base.crash import crash_point
from gradinc.base.errors import Diverged
from gradinc.base.randomness import derive
from gradinc.core.corruption import Corruption
from gradinc.core.criterion import Criterion
from gradinc.core.diagnostics import Diagnostics
from gradinc.core.layer_windows import Layers
from gradinc.core.memory import Memory
from gradinc.core.method import Method
from gradinc.core.optimizers import stepper
from gradinc.core.rule import SeparateRule
from gradinc.core.schedules import Schedule
from gradinc.core.weights import Weights
from gradinc.core.window import Window
from gradinc.core.work import BEFORE_ROWS, Work
from gradinc.core.world import World
from gradinc.data.batch import Batch

if TYPE_CHECKING:
    from gradinc.data.stream import Task

Objective = Callable[[Batch, Tensor], Tensor]
"""Loss of each row, shape (rows,), from a batch and the model's output for it."""

CACHE = 2**23
"""Bytes of a gradient up to which it lies in a cache of the processor."""


class Learner:
    """Turns micro-batches into updates.

    Methods use ten names of it and no more: `model`, `criterion`, `weights`, `lr`, `rng`,
    `gradient`, `input_gradient`, `outputs`, `regradient` and `note`.

    Args:
        model: on its device; its parameters become views of `weights`.
        methods: in the order in which they act.
        seed: what every random choice of training is derived from.
        autocast: the lower precision that forward passes run in, or None.
        diagnostics: what is noted about every update, if anything.
        scale_lr: what the learning rate is multiplied by for a window of so many micro-batches.
        layers: those that wait longer than the window, if some do.
        corruption: what breaks the gradients of some micro-batches, if anything does.
    """

    def __init__(
        self,
        model: nn.Module,
        weights: Weights,
        criterion: Criterion,
        optimizer: torch.optim.Optimizer,
        schedule: Schedule,
        window: Window,
        methods: Sequence[Method],
        *,
        seed: int,
        autocast: torch.dtype | None = None,
        diagnostics: Diagnostics | None = None,
        scale_lr: Callable[[int], float] = lambda count: 1.0,
        layers: Layers | None = None,
        corruption: Corruption | None = None,
    ) -> None:
        self.model, self.weights, self.criterion = model, weights, criterion
        self.optimizer, self.schedule, self.window = optimizer, schedule, window
        self.methods = tuple(methods)
        self.seed, self.autocast, self.diagnostics = seed, autocast, diagnostics
        self.world = World()  # the run sets another where several processes share it
        self.task = 0
        self.began = 0  # updates of the run when the task began
        self.windows = 0  # closed, also those that their rule made no update of
        self.updates = 0
        self.work = Work()

        self._parameters = weights.parameters
        self._grads = weights.views(weights.grad)
        # Autograd adds to a vector that lies in a cache sooner than a copy of every layer is made.
        self._clears = weights.grad.is_cpu and weights.grad.nbytes <= CACHE
        self._separate = window.rule if isinstance(window.rule, SeparateRule) else None
        self._member = 0
        self._drawing: int | None = None  # place of the micro-batch that methods draw for, over all processes
        self._step = stepper(optimizer)
        self._rates: list[float] = [group["lr"] for group in optimizer.param_groups]
        self._scale_lr = scale_lr
        self._layers = layers
        self._corruption = corruption
        self._rate: float | None = None
        self._batch_hooks = [m.batch for m in methods if _overrides(m, "batch")]
        self._loss_hooks = [m.loss for m in methods if _overrides(m, "loss")]
        self._transforms = [m.transform for m in methods if _overrides(m, "transform")]
        self._stepped = [m.stepped for m in sorted(methods, key=lambda m: not m.moves) if _overrides(m, "stepped")]
        self._ends = [m.end for m in sorted(methods, key=lambda m: not m.averages)]
        self._drops = any(isinstance(m, nn.modules.dropout._DropoutNd) and m.p > 0 for m in model.modules())
        self._norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._NormBase)]
        # A recurrent layer without dropout does the same in both modes, but cuDNN's has no backward pass in evaluation.
        self._modal = [m for m in model.modules() if not (isinstance(m, nn.RNNBase) and m.dropout == 0)]

        device = weights.value.device
        self._device = device
        self._watches = device.type == "cpu"  # reading a scalar costs nothing there; elsewhere it would stop the queue
        self._factors: dict[float, Tensor] = {}
        self._generators: dict[str, torch.Generator] = {}
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._loss_items = 0.0
        self._bad_step = torch.zeros((), dtype=torch.int64, device=device)
        self._notes: dict[str, Tensor] = {}
        self._noted: dict[str, int] = {}

    # ---- the ten names that methods use (model, criterion and weights are attributes) ----

    @property
    def lr(self) -> float:
        """The learning rate of the update being made."""
        return self._rates[0] * self._factor_of_rate(max(1, self.window.taken))

    def rng(self, purpose: str) -> torch.Generator:
        """A generator on the model's device for one purpose, at its beginning in every micro-batch.

        It is derived from the seed, the purpose, the task and the position, so it has no state to save.

        Args:
            purpose: it begins with the method's name, so that no two methods make the same draws.
        """
        generator = self._generators.get(purpose)
        if generator is None:
            generator = self._generators[purpose] = torch.Generator(device=self._device)
        place = self.window.taken if self._drawing is None else self._drawing
        return generator.manual_seed(derive(self.seed, purpose, self.task, self.windows, place))

    def gradient(
        self, batch: Batch, objective: Objective | None = None, *, each: bool = False, evaluated: bool = False
    ) -> Tensor:
        """The gradient of the mean of an objective over any batch, at the present weights.

        Leaves the window, BatchNorm statistics, generators and every module's mode as they were.

        Args:
            batch: the rows.
            objective: loss of each row, shape (rows,); the criterion when left out.
            each: give the gradient of every row's own loss instead.
            evaluated: of the model in evaluation mode, without dropout and with BatchNorm's running statistics, as a
                statistic of a finished task is taken; else of the model in training, which a step is made of.

        Returns:
            Shape (P,), or (rows, P) with `each`.
        """
        objective = objective or self.criterion
        self._reach(batch)
        with torch.enable_grad(), self._evaluation() if evaluated else self._undisturbed(self.window.taken):
            if each:
                return self._gradient_of_each(batch, objective)
            loss = objective(batch, self._forward(batch))
            mean = loss.mean() if batch.weight is None else (loss * batch.weight).sum() / batch.items
            return self._vector(mean, len(batch.x))

    def input_gradient(self, batch: Batch) -> Tensor:
        """The gradient of each row's loss with respect to its input, in evaluation mode, shaped like ``batch.x``.

        At the present weights. Leaves the window, BatchNorm statistics and every ``.grad`` as they were.
        """
        with torch.enable_grad(), self._evaluation():
            x = batch.x.detach().requires_grad_()
            loss = self.criterion(replace(batch, x=x), self._forward(replace(batch, x=x))).sum()
            self.work.backward_rows += len(x)
            (slope,) = torch.autograd.grad(loss, x, allow_unused=True, materialize_grads=True)
        return slope

    def outputs(self, batch: Batch) -> Tensor:
        """What the model gives for any batch in evaluation mode, shape (rows, outputs), without a gradient.

        Leaves the window, BatchNorm statistics and generators as they were.
        """
        with torch.no_grad(), self._evaluation():
            return self._forward(batch)

    def regradient(self, batch: Batch | None = None) -> Tensor:
        """The gradient of this window's own objective at the present weights, shape (P,).

        The same rows, dropout masks and methods' terms as in the first pass. For a method while it
        transforms the window's gradient, and with `batch` for a rule.

        Args:
            batch: the micro-batch that a rule is taking in: the gradient of its mean objective alone.
        """
        if batch is not None:
            return self._again(batch, 1 / batch.items)
        window, rule = self.window, copy.copy(self.window.unfinished)
        if rule is None:
            raise RuntimeError("a window's gradient is asked for again before it was there")
        total = torch.zeros_like(self.weights.grad)
        self.work.mark()
        if isinstance(rule, SeparateRule):
            rule.open(total, window.size)
        for self._member, member in enumerate(window.batches):
            factor = window.factor(member.items)
            if isinstance(rule, SeparateRule):
                rule.add(self._again(member, factor, out=rule.slot(total)), member, self)
            else:
                total += self._again(member, factor)
        self.world.sum_(total)
        self.work.share()
        rule.reduce(total, window.items, window.planned)
        return total

    def note(self, name: str, value: Tensor) -> None:
        """Add a number to the mean that the next log line reports; it stays on the device until then."""
        value = value.detach().double()
        if name in self._notes:
            self._notes[name] += value
            self._noted[name] += 1
        else:
            self._notes[name] = value.clone()
            self._noted[name] = 1

    # ---- what the run calls ----

    def begin(self, task: Task, *, restart: bool = False) -> None:
        """Before a task's first batch.

        Args:
            restart: let the optimizer forget what it has gathered in earlier tasks.
        """
        self.task, self.began = task.index, self.updates
        # What an optimizer keeps of old gradients would carry the weights out of a subspace that has shrunk since.
        if restart or (task.index > 0 and any(method.confines for method in self.methods)):
            self.optimizer.state.clear()
        for method in self.methods:
            method.begin(task, self)
        self.work.began = self.work.opened = self.work.rows

    def end(self, task: Task) -> None:
        """After a task's last batch."""
        self.work.ended = self.work.rows
        for end in self._ends:
            end(task, self)
            crash_point("method-ended")
        self.window.tasks.clear()  # heads that a method has looked at are none that the next window moves

    def open(self, planned: float, size: int, *, ends: bool = False) -> None:
        """Begin a window that is foreseen to have `size` micro-batches, with rows of this total weight.

        Args:
            ends: whether no other window follows in the epoch.
        """
        self.work.open()
        self.window.open(planned, size, self.weights.grad, ends=ends)

    def take(self, batch: Batch) -> None:
        """One micro-batch: forward, backward, its gradient added to the window's.

        Raises:
            Diverged: its loss is not finite. Nothing was changed but the window's gradient.
        """
        self._drawing = self._place
        for hook in self._batch_hooks:
            batch = hook(batch, self)
        self._drawing = None
        if self._drops:
            self._reseed(self._place)
        out = self._forward(batch)
        objective = self._objective(batch, out)
        share = self.window.factor(batch.items)
        self._collect(objective, share, batch)
        loss = objective.detach()
        # Several processes stop together, at the sum of their gradients.
        if self._watches and self.world.alone and not math.isfinite(loss.item()):
            raise Diverged(self.updates + 1, "loss")
        self._loss += loss
        self._loss_items += batch.items
        self.window.add(batch, out, share)
        self._reach(batch)
        self.work.samples += batch.fresh

    def _collect(self, objective: Tensor, share: float, batch: Batch) -> None:
        """The backward pass of a micro-batch, its gradient times `share` into the window."""
        window, grad = self.window, self.weights.grad
        # A factor handed to backward costs no multiplication in the graph, neither way.
        factor, rows = self._factor(share), len(batch.x)
        if self._separate is None and self._corruption is None:
            measures = window.measures
            if not window.taken:
                if self._clears:
                    grad.zero_()
                    self._backward(objective, factor, rows)
                else:
                    torch._foreach_copy_(self._grads, self._parts(objective, factor, rows))
                if measures:
                    window.measure(torch.dot(grad, grad), share * batch.items, batch.items)
            elif not measures:
                self._backward(objective, factor, rows)
            else:  # a second vector, and a pass over it for the norm, would cost more than the layers as they are
                parts = self._parts(objective, factor, rows)
                square = torch.stack(torch._foreach_norm(parts)).square().sum()
                window.measure(square, share * batch.items, batch.items)
                torch._foreach_add_(self._grads, parts)
            return
        self._member = window.taken
        slot = grad if window.taken == 0 else None
        if self._separate is not None:
            slot = self._separate.slot(grad)
        part = self._struck(self._vector(objective, rows, factor, slot))
        if self._corruption is not None:
            self.note("corrupted", torch.tensor(float(self._is_struck)))
        if window.measures:
            window.measure(torch.dot(part, part), share * batch.items, batch.items)
        if self._separate is not None:
            window.collect(part, share)
            self._separate.add(part, batch, self)
        elif window.taken:
            grad.add_(part)

    def update(self) -> bool:
        """The update that the window is for; was there one?

        Raises:
            Diverged: the gradient is not finite; the weights were not changed.
        """
        grad = self.weights.grad
        with torch.no_grad():
            if not self.world.alone:
                self._gather(grad)
            self._observe(grad)
            if not self.window.reduce(grad):
                self._close()
                return False
            if self.diagnostics is not None:
                self.diagnostics.reduced(grad, self)
            if self._layers is not None:
                self._layers.collect(self.window, self.task)
            for transform in self._transforms:
                transform(grad, self)
            if self._transforms:  # one that drew at a micro-batch has not drawn where a process had none
                self.world.copy_([grad])
            self._check(grad)
            if self.diagnostics is not None and self._transforms:
                self.diagnostics.transformed(grad, self)
            if self.weights.has_heads:
                self.weights.wake(self.window.tasks)
            rate = self._factor_of_rate(self.window.taken)
            if rate != self._rate:
                self._rate = rate
                for group, lr in zip(self.optimizer.param_groups, self._rates, strict=True):
                    group["lr"] = lr * rate
            self._step()
            for stepped in self._stepped:
                stepped(self.window, self)
            if self.diagnostics is not None:
                self.diagnostics.stepped(self)
        self.updates += 1
        self._close()
        return True

    def _close(self) -> None:
        """Leave the window behind."""
        self.window.close()
        self.windows += 1
        self.work.close(self.world)

    def _observe(self, grad: Tensor) -> None:
        """Let the noise among the micro-batches of a full window be estimated, also where no update will follow."""
        window = self.window
        if not window.squares or (window.taken == 1 and not window.due.observes):
            return
        square = window.mean_square(grad)
        if window.due.observes:  # it thinks in rows of the stream, and replayed rows come on top of them
            window.due.observe([(each, items * window.fresh / window.items) for each, items in window.squares], square)
        if self.diagnostics is not None:
            self.diagnostics.observed(window, square, self)

    def _gather(self, grad: Tensor) -> None:
        """Make this process's share of the window the whole window."""
        window = self.window
        if window.taken == 0:  # a short window may have fewer micro-batches than there are processes
            grad.zero_()
        self.world.sum_(grad)
        window.items, window.taken = window.planned, window.size
        window.tasks.add(self.task)
        self.work.share()

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """The weights that stand for the run, where a method has others than those being trained.

        Outside, these are back to the bit.
        """
        standing = [getattr(method, method.stands) for method in self.methods if method.stands]
        if not standing or not len(standing[-1]):  # before its first task a method has none
            yield
            return
        value = self.weights.value
        before = value.clone()
        value.copy_(standing[-1])
        try:
            yield
        finally:
            value.copy_(before)

    def drain(self) -> dict[str, Any]:
        """The numbers for a log line since the last one: the mean loss, and what methods noted."""
        self.check()
        if not self.world.alone:
            sums = torch.stack((self._loss, self._loss.new_tensor(self._loss_items)))
            self.world.sum_(sums)
            self._loss.copy_(sums[0])
            self._loss_items = float(sums[1])
        values: dict[str, Any] = {"loss": float(self._loss) / self._loss_items if self._loss_items else None}
        if self._notes:
            notes = {name: float(v) / self._noted[name] for name, v in self._notes.items()}
            values["notes"] = Diagnostics.finish(notes)
        self._loss.zero_()
        self._loss_items = 0.0
        self._notes.clear()
        self._noted.clear()
        return values

    def check(self) -> None:
        """Look at what stayed on the device, before anything is logged or saved.

        Raises:
            Diverged: a gradient or a weight is not finite.
        """
        if not self._watches and (step := int(self._bad_step)):
            raise Diverged(step, "gradient")
        if not math.isfinite(self.weights.value.sum().item()):
            name = self.weights.first_not_finite(self.weights.value)
            if name is not None:
                raise Diverged(self.updates, name)

    def state_dict(self) -> dict[str, Any]:
        """Everything that a restart needs, at any boundary between micro-batches."""
        window_open = self.window.taken > 0
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "methods": [_state(method) for method in self.methods],
            "window": self.window.state_dict() if window_open else None,
            "grad": self.weights.grad if window_open else None,
            "rule": _state(self.window.rule),
            "due": _state(self.window.due),
            "diagnostics": _state(self.diagnostics) if self.diagnostics is not None else {},
            "layers": _state(self._layers) if self._layers is not None else {},
            "counts": [self.task, self.began, self.windows, self.updates],
            "work": self.work.state_dict(),
            "log": [self._loss, self._loss_items, self._notes, self._noted],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, IndexError, RuntimeError: it was another learner's, or
                it is of before rows were counted.
        """
        if "work" not in state:
            raise ValueError(f"it {BEFORE_ROWS}")
        for name, tensor in self.model.state_dict().items():
            _expect(f"the weight {name}", state["model"][name], tensor)
        self.model.load_state_dict(state["model"])
        for group, saved in zip(self.optimizer.param_groups, state["optimizer"]["param_groups"], strict=True):
            for name, value in group.items():
                if name != "params" and not _alike(value, saved[name]):
                    raise TypeError(f"the optimizer's {name} is a {type(saved[name]).__name__}")
        self.optimizer.load_state_dict(state["optimizer"])
        for leaf, values in self.optimizer.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and value.dim():
                    _expect(f"the optimizer's {name}", value, leaf)
                elif isinstance(
                    value, Tensor
                ):  # PyTorch counts steps on the CPU: elsewhere each step would wait for it
                    values[name] = value.cpu()
        self._rate = None
        for method, values in zip(self.methods, state["methods"], strict=True):
            self._restore(method, values)
        self._restore(self.window.rule, state["rule"])
        self._restore(self.window.due, state["due"])
        if self.diagnostics is not None and state["diagnostics"]:  # they may be asked for from here on only
            self._restore(self.diagnostics, state["diagnostics"])
        if self._layers is not None:
            self._restore(self._layers, state["layers"])
        if state["window"] is not None:
            _expect("the window's gradient", state["grad"], self.weights.grad)
            self.window.load_state_dict(state["window"])
            self.weights.grad.copy_(state["grad"])
        self.task, self.began, self.windows, self.updates = state["counts"]
        loss, self._loss_items, self._notes, self._noted = state["log"]
        self._loss.copy_(loss)
        self._loss_items += 0.0
        self._notes = {name: self._notes[name].reshape(()) for name in self._noted}
        self._noted = {name: int(count) for name, count in self._noted.items()}
        self._reread()
        self.work.load_state_dict(state["work"])

    # ---- inside ----

    def _restore(self, part: Any, state: dict[str, Any]) -> None:
        """Give a part its state back, which is of the kinds that it has."""
        if set(state) != set(part.state):
            raise KeyError(f"the state of {type(part).__name__} is {sorted(part.state)}, not {sorted(state)}")
        weights = self.weights.value
        for name, value in state.items():
            where, now = f"{name} of {type(part).__name__}", getattr(part, name, None)
            if isinstance(now, Memory):
                now.load_state_dict(value)
                continue
            if not _alike(now, value):
                raise TypeError(f"{where} is a {type(value).__name__}, not a {type(now).__name__}")
            for tensor in _tensors(value):
                if tensor.is_floating_point() and tensor.shape[-1:] == weights.shape and tensor.dtype != weights.dtype:
                    raise ValueError(f"{where} is of {tensor.dtype}, not {weights.dtype}")
            setattr(part, name, value)

    def _reread(self) -> None:
        """Look whether the batches that an open window has kept fit the model, as a method will read them again."""
        notes, noted = self._notes, self._noted
        self._notes, self._noted = {}, {}
        for index, (batch, kept) in enumerate(zip(self.window.batches, self.window.outputs, strict=True)):
            with self._undisturbed(index):
                out = self._forward(batch)
                _expect("an output of the window", kept, out)
                self._objective(batch, out)
        self._notes, self._noted = notes, noted

    def _factor_of_rate(self, count: int) -> float:
        """What the learning rate is multiplied by for a window of so many micro-batches."""
        return self.schedule(self.updates - self.began, self.task, *self.work.in_task) * self._scale_lr(count)

    def _reach(self, batch: Batch) -> None:
        """Note which tasks' heads a batch goes through."""
        if self.weights.has_heads:
            self.window.tasks.update(
                [batch.task] if batch.tasks is None else batch.tasks.unique().tolist(), batch.heads
            )

    def _forward(self, batch: Batch) -> Tensor:
        self.work.forward_rows += len(batch.x)
        if self.autocast is None:
            return self.model(batch.x)
        with torch.autocast(self._device.type, dtype=self.autocast):
            out: Tensor = self.model(batch.x)
        return out.float()

    def _backward(self, objective: Tensor, factor: Tensor, rows: int) -> None:
        """Add the gradient of an objective of so many rows, times a factor, to the weights' own."""
        self.work.backward_rows += rows
        objective.backward(factor)

    def _objective(self, batch: Batch, out: Tensor) -> Tensor:
        total = self.criterion.total(batch, out)
        for hook in self._loss_hooks:
            total = total + batch.items * hook(batch, out, self)
        return total

    def _again(self, batch: Batch, factor: float, out: Tensor | None = None) -> Tensor:
        """The gradient of the summed objective of the micro-batch at hand, times a factor, once more."""
        with self._undisturbed(self._own_place):
            objective = self._objective(batch, self._forward(batch))
            return self._struck(self._vector(objective, len(batch.x), self._factor(factor), out))

    @property
    def _own_place(self) -> int:
        """The number in its window of the micro-batch at hand, over all processes."""
        return self._member * self.world.size + self.world.rank

    @property
    def _is_struck(self) -> bool:
        """Whether the gradient of the micro-batch at hand arrives broken."""
        return self._corruption is not None and self._corruption.strikes(
            self.task, self.updates, self.windows, self._own_place
        )

    def _struck(self, part: Tensor) -> Tensor:
        """The gradient of the micro-batch at hand, shape (P,), broken in place where that is to be."""
        if self._corruption is not None and self._is_struck:
            self._corruption.apply(part, self.task, self.windows, self._own_place)
        return part

    def _factor(self, value: float) -> Tensor:
        factor = self._factors.get(value)
        if factor is None:
            if len(self._factors) > 1000:  # windows whose rows are weighted by data have no end of them
                self._factors.clear()
            dtype = torch.float32 if self.autocast is not None else self.weights.value.dtype
            factor = self._factors[value] = torch.tensor(value, dtype=dtype, device=self._device)
        return factor

    def _check(self, grad: Tensor) -> None:
        total = grad.sum()
        if not self._watches:
            bad = ~torch.isfinite(total) & (self._bad_step == 0)
            self._bad_step += bad * (self.updates + 1)
            grad.nan_to_num_(0.0, 0.0, 0.0)
        elif not math.isfinite(total.item()):
            # A sum can overflow where no entry does, so look closer before stopping.
            name = self.weights.first_not_finite(grad)
            if name is not None:
                raise Diverged(self.updates + 1, f"the gradient of {name}")

    def _vector(self, scalar: Tensor, rows: int, factor: Tensor | None = None, out: Tensor | None = None) -> Tensor:
        """The gradient of a scalar of so many rows times a factor, shape (P,).

        Weights that it does not depend on get 0.
        """
        return self.weights.flatten(self._parts(scalar, factor, rows), out)

    def _parts(self, scalar: Tensor, factor: Tensor | None, rows: int) -> tuple[Tensor, ...]:
        """The same, layer by layer."""
        self.work.backward_rows += rows
        return torch.autograd.grad(scalar, self._parameters, factor, allow_unused=True, materialize_grads=True)

    def _gradient_of_each(self, batch: Batch, objective: Objective) -> Tensor:
        parameters = dict(self.model.named_parameters())
        trained = {name: parameters.pop(name).detach() for name in self.weights.names}
        rest = {**parameters, **dict(self.model.named_buffers())}

        def loss(weights: dict[str, Tensor], x: Tensor, y: Tensor, task: Tensor) -> Tensor:
            out = torch.func.functional_call(self.model, (weights, rest), (x.unsqueeze(0),))
            tasks = None if batch.tasks is None else task.unsqueeze(0)
            return objective(Batch(x.unsqueeze(0), y.unsqueeze(0), batch.task, 1, tasks=tasks), out).squeeze(0)

        self.work.forward_rows += len(batch.x)
        self.work.backward_rows += len(batch.x)
        rows = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0, 0), randomness="different")
        grads = rows(trained, batch.x, batch.y, batch.task_of_rows)
        return self.weights.flatten([grads[name] for name in self.weights.names], rows=batch.x.shape[0])

    @contextmanager
    def _undisturbed(self, index: int) -> Iterator[None]:
        """A pass inside leaves no trace: BatchNorm statistics, generators and gradient mode come back."""
        tracking = [norm.track_running_stats for norm in self._norms]
        cuda = [self._device.index or 0] if self._device.type == "cuda" else []
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
    def _evaluation(self) -> Iterator[None]:
        """The model in evaluation mode inside; every module is back in its own mode outside, held BatchNorms too."""
        modes = [module.training for module in self._modal]
        for module in self._modal:
            module.training = False
        try:
            yield
        finally:
            for module, mode in zip(self._modal, modes, strict=True):
                module.training = mode

    @property
    def _place(self) -> int:
        """Number of the next micro-batch in its window, over all processes."""
        return self.window.taken * self.world.size + self.world.rank

    def _reseed(self, index: int) -> None:
        # nn.Dropout takes no generator, so the device's default one is set for every micro-batch.
        seed = derive(self.seed, "dropout", self.task, self.windows, index)
        if self._device.type == "cuda":
            torch.cuda.default_generators[self._device.index or 0].manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)


def _overrides(method: Method, hook: str) -> bool:
    return getattr(type(method), hook) is not getattr(Method, hook)


def _state(part: Any) -> dict[str, Any]:
    """What a part declares as its state."""
    values = {name: getattr(part, name) for name in part.state}
    return {name: value.state_dict() if isinstance(value, Memory) else value for name, value in values.items()}


def _expect(name: str, value: Tensor, like: Tensor) -> None:
    """See that a tensor of a checkpoint is of the kind of the one that it stands for.

    Raises:
        ValueError: it is not.
    """
    if value.shape != like.shape or value.dtype != like.dtype:
        was, wanted = (f"{tuple(each.shape)} of {each.dtype}" for each in (value, like))
        raise ValueError(f"{name} has shape {was}, not {wanted}")


def _alike(now: Any, value: Any) -> bool:
    """Whether two values are of the same kind: a number is a number, a matrix is a matrix."""
    number = (int, float)
    if now is None:  # what a part does not have at its beginning
        return value is None or isinstance(value, Tensor | int | float)
    if isinstance(now, Tensor):
        return isinstance(value, Tensor) and (value.dim() == now.dim() or now.shape == (0,))
    return isinstance(value, number) if isinstance(now, number) else isinstance(value, type(now))


def _tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in lists and dicts of a state."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _tensors(item)
