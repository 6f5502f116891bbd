"""The parts of a checked config, joined into a learner."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradinc.base.errors import UserError
from gradinc.base.randomness import seeded
from gradinc.config.catalog import load_part, part, parts
from gradinc.config.names import written
from gradinc.config.parts_folder import shown_path
from gradinc.config.schema import Config, CriterionSection, StrategySection
from gradinc.core.corruption import CorruptPasses
from gradinc.core.criterion import ClassLoss, Criterion, RowLoss, ValueLoss
from gradinc.core.criterion_setting import CriterionSetting
from gradinc.core.diagnostics import After, Before
from gradinc.core.due import Due
from gradinc.core.freezing import freeze
from gradinc.core.layer_windows import LayerWindows, sizes_of
from gradinc.core.learner import Learner
from gradinc.core.method import Method
from gradinc.core.next_token import NextToken
from gradinc.core.order import check_layer_windows, check_order, check_rows
from gradinc.core.passes import Passes
from gradinc.core.place import Place
from gradinc.core.rate import Rate
from gradinc.core.rule import Rule
from gradinc.core.schedules import Schedule
from gradinc.core.shared import SharedGradient
from gradinc.core.weights import Weights
from gradinc.core.window import Window
from gradinc.core.world import World
from gradinc.data.dataset import Dataset
from gradinc.data.outputs import Outputs
from gradinc.data.stream import Stream
from gradinc.data.task import Setting
from gradinc.data.text import Tokens
from gradinc.runs.device import autocast_dtype, storage_dtype
from gradinc.runs.model_for import model_for
from gradinc.runs.schedule_for import schedule_for

_AUTO = CriterionSection()


@dataclass(frozen=True)
class Shape:
    """The shape of one input and the number of outputs that a model must fit; for rows of text also their tokens."""

    inputs: tuple[int, ...]
    outputs: int
    text: Tokens | None = None

    @classmethod
    def of(cls, dataset: Dataset, stream: Stream) -> Shape:
        """Return the shape of a data set's rows, with the outputs and the vocabulary of a stream."""
        text = stream.setting.text
        return cls(dataset.shape, stream.setting.outputs, None if text is None else text.plain)


def build_model(config: Config, shape: Shape, device: torch.device, task: int = 0) -> nn.Module:
    """Return the model with its initial weights, which depend on the seed only.

    Args:
        task: number of the task: a run that restarts with each task has different initial weights for each.
    """
    with seeded(config.seed, "initialisation", *([task] if task else [])):
        model = model_for(config, shape.inputs, shape.outputs, shape.text)
    if config.model.freeze:
        freeze(model, config.model.freeze)
    # Convolutions are twice as fast with the channels last in memory, except in float64, which has no such kernel.
    layout = torch.preserve_format if config.dtype == "float64" else torch.channels_last
    return model.to(device=device, dtype=storage_dtype(config.dtype), memory_format=layout)  # type: ignore[call-overload]


def build_criterion(
    dataset: Dataset,
    outputs: Outputs | None = None,
    chosen: CriterionSection = _AUTO,
    count: int | None = None,
    metrics: Sequence[str] = (),
) -> Criterion:
    """Return the loss.

    Args:
        outputs: the outputs of the model that count, if tasks differ in them.
        chosen: the ``criterion`` section of the config, with numbers for ``class_weights=balanced``.
        count: the number of the model's outputs; by default the data set's.
        metrics: names of further metrics.

    Raises:
        UserError: the criterion or its weights do not fit the targets.
    """
    if dataset.text is not None and dataset.text.each:
        return _next_token(dataset.text, chosen, dataset.name)
    takes_either = any(part.name == dataset.name and "task" in part.parameters for part in parts("data"))
    fix = "give data.task=classes if y holds labels" if takes_either else "choose a set with classes"
    count = count or dataset.outputs
    weights = _class_weights(chosen, dataset, count)
    targets = CriterionSetting(dataset.name, dataset.classes is not None, outputs, weights, fix)
    criterion = _made_criterion(chosen, targets, count)
    criterion.metrics = {name: load_part("metric", name)() for name in metrics}
    for name, metric in criterion.metrics.items():
        if metric.classes and not targets.classes:
            raise UserError(f"metrics=[{name}]", f"data={dataset.name} has values, not classes", f"Leave out {name}")
    return criterion


def _made_criterion(chosen: CriterionSection, targets: CriterionSetting, count: int) -> Criterion:
    """Return the criterion of a part: what its function makes of the setting, or a loss of rows by its function."""
    make = load_part("criterion", chosen.name)
    if len(inspect.signature(partial(make, **chosen.options)).parameters) - len(chosen.options) == 1:
        criterion: Criterion = make(targets, **chosen.options)
        return criterion
    loss = partial(make, **chosen.options)
    _check_loss(chosen.name, loss, count, classes=targets.classes)
    return ClassLoss(loss, targets.outputs, targets.weights) if targets.classes else ValueLoss(loss)


def _next_token(text: Tokens, chosen: CriterionSection, name: str) -> NextToken:
    if chosen != CriterionSection(chosen.name) or chosen.name not in ("auto", "cross_entropy"):
        what = f"the targets of data={name} are tokens, whose loss is the cross-entropy of the next one"
        raise UserError(f"criterion={chosen.name}", what, "Leave out the criterion and its options")
    return NextToken(text)


def _class_weights(chosen: CriterionSection, dataset: Dataset, count: int) -> Tensor | None:
    if chosen.class_weights is None:
        return None
    where = written("criterion.class_weights", chosen.class_weights)
    if dataset.classes is None or isinstance(chosen.class_weights, str):
        raise UserError(where, f"data={dataset.name} has values, not classes", "Leave it out")
    if len(chosen.class_weights) != count:
        fix = f"Give {count} numbers, or balanced"
        raise UserError(where, f"has {len(chosen.class_weights)} numbers for {count} outputs of the model", fix)
    return torch.tensor(chosen.class_weights, dtype=torch.float64, device=dataset.train.y.device)


def _check_loss(name: str, loss: RowLoss, outputs: int, *, classes: bool) -> None:
    """Refuse a function that does not return the loss of each row.

    Raises:
        UserError: it raises an error or returns another shape for two rows.
    """
    y = torch.zeros(2, dtype=torch.int64) if classes else torch.zeros(2, outputs)
    where = f"{shown_path(part('criterion', name).path)}: criterion {name}"
    try:
        shape = tuple(loss(torch.zeros(2, outputs), y).shape)
    except UserError:
        raise
    except Exception as error:
        what = f"fails for two rows of {'labels' if classes else 'numbers'} ({type(error).__name__}: {error})"
        raise UserError(where, what, "Correct it, or choose other data") from error
    if shape != (2,):
        what = f"returns the shape {shape} for two rows, not the loss of each row"
        raise UserError(where, what, 'Use reduction="none", and the mean over the numbers of a row')


def build_learner(
    config: Config,
    model: nn.Module,
    criterion: Criterion,
    rows: int,
    stream: Stream | None = None,
    world: World | None = None,
) -> Learner:
    """Return the learner for a model that is already on its device.

    Args:
        rows: training rows of a task, from which schedules with an end compute the length of the task.
        stream: the sequence of tasks, if there is more than one task.
        world: the processes that train the learner together, if there are several.
    """
    strategy, world = config.strategy, world or World()
    setting, heads = (Setting(), ()) if stream is None else (stream.setting, stream.heads)
    chain = build_chain(strategy, model, setting, heads, corrupted=config.corrupt.prob > 0)
    weights = Weights(model, heads, chain.waits)
    rate = named_rate(config, weights, chain.due, schedule_for(config, chain.due, rows, stream, world.size))
    online = stream is not None and stream.is_sequence
    return assemble(config, chain, weights, model, criterion, rate, world, online=online)


def assemble(
    config: Config,
    chain: Chain,
    weights: Weights,
    model: nn.Module,
    criterion: Criterion,
    rate: Rate,
    world: World,
    *,
    online: bool = False,
) -> Learner:
    """Return the learner of a strategy's parts, for any model, criterion and optimizer.

    Args:
        weights: the model's.
        rate: the optimizer over these weights.
        online: as for `Learner`.
    """
    window = chain.window(weights, notes=config.diagnostics)
    first, last = _around(config, window, world, waits=bool(chain.waits))
    passes = _passes(config, model, weights, criterion, world, by_row=chain.rule.by_row)
    return Learner(passes, rate, window, chain.methods, online=online, first=first, last=last)


def named_rate(config: Config, weights: Weights, due: Due, schedule: Schedule) -> Rate:
    """Return the config's optimizer for a model's weights, with its learning rate."""
    optimizer = load_part("optimizer", config.optimizer.name)(weights, **_optimizer_options(config, due))
    return Rate(optimizer, schedule, config.strategy.scale_lr)


@dataclass(frozen=True)
class Chain:
    """The parts of a strategy, which fit each other and the model.

    Attributes:
        methods: by name, in the order in which they act.
        waits: micro-batches between two updates, by the names of the weights with longer windows.
    """

    rule: Rule
    due: Due
    methods: dict[str, Method]
    waits: dict[str, int]

    def window(self, weights: Weights, *, notes: bool = False) -> Window:
        """Return the window of the strategy.

        Args:
            notes: whether the noise among its micro-batches is noted for the log.
        """
        keeps = any(method.rereads for method in self.methods.values())
        return Window(weights, self.rule, self.due, keeps=keeps, notes=notes)


def build_chain(
    strategy: StrategySection,
    model: nn.Module,
    setting: Setting,
    heads: Sequence[range] = (),
    *,
    corrupted: bool = False,
) -> Chain:
    """Return the parts of a strategy.

    Args:
        corrupted: whether gradients are corrupted.

    Raises:
        UserError: they do not go together, or not with this model or these tasks.
    """
    rule = load_part("rule", strategy.window.rule)(**strategy.window.rule_options)
    due = load_part("due", strategy.window.due)(**strategy.window.due_options)
    methods = {name: load_part("method", name)(**options) for name, options in strategy.methods.items()}
    classes = {name: type(method) for name, method in methods.items()}
    check_order(classes)
    check_rows(strategy.window.rule, rule, model, classes, corrupted=corrupted)
    for method in methods.values():
        method.check(model, setting)
    if strategy.window.layers:
        check_layer_windows(classes, heads)
    waits = sizes_of([name for name, p in model.named_parameters() if p.requires_grad], strategy.window.layers)
    return Chain(rule, due, methods, waits)


def _passes(
    config: Config, model: nn.Module, weights: Weights, criterion: Criterion, world: World, *, by_row: bool
) -> Passes:
    """Return the passes of training, with corrupted gradients if configured."""
    place, autocast = Place(config.seed, weights.value.device, world), autocast_dtype(config.dtype)
    if config.corrupt.prob > 0:
        return CorruptPasses(model, weights, criterion, place, autocast=autocast, **vars(config.corrupt))
    return Passes(model, weights, criterion, place, autocast=autocast, by_row=by_row)


def _around(
    config: Config, window: Window, world: World, *, waits: bool
) -> tuple[dict[str, Method], dict[str, Method]]:
    """Return the methods before and after the strategy's methods."""
    first: dict[str, Method] = {}
    last: dict[str, Method] = {}
    if config.diagnostics:
        first["before"] = before = Before()
        last["after"] = After(before, alone=not config.strategy.methods)
    if waits:
        first["layers"] = LayerWindows(window.weights, window, config.strategy.window.size, config.strategy.window.last)
    if not world.alone:
        last["shared"] = SharedGradient()
    return first, last


def _optimizer_options(config: Config, due: Due) -> dict[str, Any]:
    """Return the optimizer's options, with beta2 for the size of the window if configured.

    Paper: Marek et al. 2025, arXiv 2507.07101: the second moment's half-life, in samples, should not depend on
    the number of samples per update.
    """
    options = dict(config.optimizer.options)
    if config.strategy.scale_beta2:
        if "beta2" not in options:
            raise UserError(
                "strategy.scale_beta2=true", f"optimizer={config.optimizer.name} has no beta2", "Use optimizer=adamw"
            )
        window = config.strategy.window
        if not due.steady:
            what = f"needs windows of one size, and due={window.due} changes it"
            raise UserError("strategy.scale_beta2=true", what, "Use strategy.window.due=size or items")
        options["beta2"] = options["beta2"] ** due.size(0, window.size, config.data.batch_size)
    return options
