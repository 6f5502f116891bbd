"""``gradinc.attach``: the update of gradinc in a loop of one's own."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from gradinc.api.attached import Attached
from gradinc.base.errors import UserError
from gradinc.config import groups
from gradinc.config.arguments import arguments
from gradinc.config.compose import load_config
from gradinc.config.schema import Config
from gradinc.core.learner import Learner
from gradinc.core.loss_function import Terms, criterion_of
from gradinc.core.rate import Rate
from gradinc.core.schedules import Schedule
from gradinc.core.weights import Weights, output_layer
from gradinc.core.world import World
from gradinc.data.task import Setting
from gradinc.runs.build import assemble, build_chain, named_rate

TAKES = ("strategy", "optimizer", "schedule", "corrupt", "seed", "diagnostics", "stream.memory_unit", "stream.restart")
"""Keys of the command line that an own loop has; the rest describes what the loop does itself."""


def attach(
    net: nn.Module,
    optimizer: Optimizer | str | Mapping[str, Any] = "sgd",
    *words: str | Mapping[str, Any],
    criterion: Any = nn.functional.cross_entropy,
    terms: Terms | None = None,
    window: int | Mapping[str, Any] | None = None,
    tasks: int | None = None,
    classes: int | Sequence[Sequence[int]] | None = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
    **keys: Any,
) -> Attached:
    """Return an object that updates a net from the micro-batches of your own loop, by a strategy of gradinc.

    ``gradinc.attach(net, optimizer, strategy=["accumulate", "agem"], window=4, agem={"memory": 500}, tasks=5)`` makes
    the updates of ``gradinc train strategy=[accumulate,agem] strategy.window.size=4 strategy.methods.agem.memory=500``.
    With the same batches and the same seed it gives the bits of this run.

    The net is not wrapped: it stays the same object with the same ``Parameter`` objects. What changes: the ``data`` of
    each trainable parameter becomes a view of one vector, and ``grad`` a view of another. Therefore move, convert and
    freeze the net before; a later ``net.to(…)`` is refused by the next step. ``net.load_state_dict`` and
    ``copy.deepcopy(net)`` work, and a copy has its own weights. A tied weight is in the vector once. Call neither
    ``backward``, ``optimizer.step`` nor ``optimizer.zero_grad``: `Attached.step` does this.

    Args:
        net: on its device. Whether it is in training mode is up to the loop.
        optimizer: an optimizer of PyTorch over all trainable parameters of the net, with groups and schedulers as you
            like; or the name of one of gradinc's, or a mapping ``{"name": "sgd", "lr": 0.1}``.
        words: arguments as on the command line, ``"strategy.window.rule=median"``, or mappings of keys.
        criterion: a loss function or module of PyTorch, or a function of outputs and targets that returns the loss of
            each row (`gradinc.core.loss_function.criterion_of`).
        terms: for losses with several terms in a row, such as tokens: a function from targets to their number in each
            row. The criterion then returns each row's sum, and the window's gradient is the mean over its terms.
        window: micro-batches of an update, or a mapping of keys of ``strategy.window``.
        tasks: number of tasks, which share the memory of some methods; there may not be more.
        classes: number of classes, or the classes of each task; by default the outputs of the last linear layer.
        mean, std: normalisation of images for each channel, for ``pgd_at``.
        keys: more keys: ``strategy="ewc"``, ``seed=1``; a method's name has its options: ``ewc={"strength": 10}``.

    Raises:
        gradinc.UserError: a key is wrong, the strategy changes what the loop does itself, or the optimizer is not of
            this net.
    """
    options = {"criterion": criterion, "terms": terms, "window": window, "tasks": tasks, "classes": classes}
    return Attached(*attached_parts(net, optimizer, words, keys, **options, mean=mean, std=std))


def attached_parts(
    net: nn.Module,
    optimizer: Optimizer | str | Mapping[str, Any],
    words: Sequence[str | Mapping[str, Any]],
    keys: Mapping[str, Any],
    *,
    criterion: Any,
    terms: Terms | None = None,
    window: Any = None,
    tasks: int | None = None,
    classes: Any = None,
    mean: Sequence[float] = (),
    std: Sequence[float] = (),
) -> tuple[Learner, Config, Setting]:
    """Return the learner of `attach`, the config of its strategy, and the properties of its tasks."""
    own = isinstance(optimizer, Optimizer)
    given = _given(words, keys, window, None if own else optimizer)
    config = load_config(given)
    _check_loop(config)
    names = [name for name, p in net.named_parameters() if p.requires_grad]
    if not names:
        raise UserError("net", "has no trainable parameter", "Give a net with parameters that require a gradient")
    if isinstance(optimizer, Optimizer):
        _check_optimizer(net, optimizer)
        _check_own_rate(config)
    _check_one_kind(net)

    setting = _setting(net, config, tasks, classes, tuple(mean), tuple(std))
    chain = build_chain(config.strategy, net, setting, corrupted=config.corrupt.prob > 0)
    loss = criterion_of(criterion, terms)
    weights = Weights(net, (), chain.waits)
    if isinstance(optimizer, Optimizer):
        rate = Rate(optimizer, None)
    else:
        rate = named_rate(config, weights, chain.due, _schedule(config))
    learner = assemble(config, chain, weights, net, loss, rate, World())
    return learner, config, setting


def _given(words: Sequence[str | Mapping[str, Any]], keys: Mapping[str, Any], window: Any, optimizer: Any) -> list[str]:
    """Return the arguments of the command line.

    Raises:
        UserError: a key is not one of an own loop.
    """
    sections = {key for key in keys if key.partition(".")[0] in {take.partition(".")[0] for take in TAKES}}
    methods = {f"strategy.methods.{key}": value for key, value in keys.items() if key not in sections}
    for key, value in methods.items():
        name = key.rpartition(".")[2]
        if name in groups.GROUPS or not isinstance(value, Mapping):
            what = "is neither a key of an own loop nor a method with its options"
            raise UserError(f"attach({name}=…)", what, f"Its keys are {', '.join(TAKES)}, window and methods")
    more: dict[str, Any] = {key: keys[key] for key in keys if key in sections}
    if window is not None:
        more |= {"strategy.window": window} if isinstance(window, Mapping) else {"strategy.window.size": window}
    if optimizer is not None:
        more["optimizer"] = optimizer
    found = arguments(words, {**more, **methods})
    for text in found:
        key = text.partition("=")[0].lstrip("+~")
        if not any(key == take or key.startswith(f"{take}.") for take in TAKES):
            fix = f"Leave it out; attach takes {', '.join(TAKES)}"
            raise UserError(key, "describes what your own loop, net or data do", fix)
    return found


def _check_loop(config: Config) -> None:
    """Refuse strategies that change what the loop does itself.

    Raises:
        UserError: the strategy changes the data of a task or the net.
    """
    if config.stream.data != "current":
        kind = {"joint": "the rows of all tasks together", "memory": "a memory of rows, from scratch"}
        what = f"trains each task on {kind.get(config.stream.data, 'the rows of all tasks so far')}"
        raise UserError(
            f"stream.data={config.stream.data}", f"{what}, which is up to your own loop", "Use gradinc.train"
        )
    if config.stream.restart == "weights":
        raise UserError("stream.restart=weights", "the net is yours", "Initialise it again before the task")
    if config.strategy.window.micro_batch == "auto":
        raise UserError("strategy.window.micro_batch=auto", "your loop chooses the batches", "Leave it out")
    usual = load_config([f"optimizer={config.optimizer.name}"])
    changed = [key for key, value in config.model.options.items() if usual.model.options.get(key) != value]
    if changed:
        what = f"the strategy sets model.{changed[0]}={config.model.options[changed[0]]}, and the net is yours"
        fix = "Build the net so, and give the strategy's other keys one by one"
        raise UserError("strategy", what, fix)


def _check_own_rate(config: Config) -> None:
    """Refuse keys that change an optimizer or its learning rate, for an optimizer of PyTorch.

    Raises:
        UserError: there is such a key.
    """
    usual = load_config()
    fix = "Set it in the optimizer, or give the optimizer by its name: optimizer='sgd'"
    for key, value, default in (
        ("strategy.scale_lr", config.strategy.scale_lr, "none"),
        ("strategy.scale_beta2", config.strategy.scale_beta2, False),
        ("schedule", config.schedule, usual.schedule),
        ("optimizer", config.optimizer, usual.optimizer),
    ):
        if value != default:
            raise UserError(key, "changes the optimizer, and yours is made already", fix)
    if config.strategy.window.layers:
        what = "steps some layers less often, which an optimizer of PyTorch over the net's parameters cannot"
        raise UserError("strategy.window.layers", what, "Give the optimizer by its name: optimizer='sgd'")


def _check_optimizer(net: nn.Module, optimizer: Optimizer) -> None:
    """Refuse an optimizer over other weights than the net's trainable parameters.

    Raises:
        UserError: it has others or lacks some, or its step needs a closure.
    """
    name = type(optimizer).__name__
    own = {id(p): key for key, p in net.named_parameters() if p.requires_grad}
    stepped = [id(p) for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
    if any(key not in own for key in stepped):
        what = "has a parameter that is not one of the net's"
        raise UserError(f"optimizer={name}", what, f"Make it from this net: {name}(net.parameters(), …)")
    for missing in (key for number, key in own.items() if number not in set(stepped)):
        fix = "Add it to a group, or freeze it with requires_grad_(False) before attach"
        raise UserError(f"optimizer={name}", f"lacks the net's {missing}", fix)
    step = inspect.signature(inspect.unwrap(type(optimizer).step)).parameters
    if "closure" in step and step["closure"].default is inspect.Parameter.empty:
        raise UserError(f"optimizer={name}", "evaluates the loss inside its step", "Use another one, such as AdamW")


def _check_one_kind(net: nn.Module) -> None:
    """Refuse trainable parameters of several dtypes or devices: one vector has one.

    Raises:
        UserError: there are several.
    """
    kinds = {(p.dtype, p.device): name for name, p in net.named_parameters() if p.requires_grad}
    if len(kinds) > 1:
        (first, one), (second, other) = list(kinds.items())[:2]
        what = (
            f"{one} is {first[0]} on {first[1]}, {other} is {second[0]} on {second[1]}, and the weights are one vector"
        )
        raise UserError("net", what, "Convert the net to one dtype on one device first")


def _schedule(config: Config) -> Schedule:
    schedule = config.schedule
    return Schedule(
        schedule.name,
        schedule.options,
        warmup=schedule.warmup,
        warmup_factor=schedule.warmup_factor,
        updates=schedule.updates,
        task_factor=schedule.task_factor,
        task_floor=schedule.task_floor,
    )


def _setting(
    net: nn.Module, config: Config, tasks: int | None, classes: Any, mean: tuple[float, ...], std: tuple[float, ...]
) -> Setting:
    last = output_layer(net)
    outputs = 0 if last is None else int(net.get_submodule(last).out_features)  # type: ignore[arg-type]
    pairs, tasks = 0, tasks or 0
    if isinstance(classes, Sequence):
        pairs, tasks = sum(len(own) for own in classes), tasks or len(classes)
        classes = len({each for own in classes for each in own})
    known = outputs if classes is None else classes
    return Setting(tasks, outputs, config.stream.memory_unit, known, pairs or known * max(1, tasks), mean, std)
