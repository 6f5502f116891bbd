"""``gradinc.attach``: the updates of a strategy inside a program's own loop, without runs or directories."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gradinc.api.attached import Attached
from gradinc.base.errors import UserError
from gradinc.config.arguments import arguments
from gradinc.config.catalog import load_part
from gradinc.config.compose import load_config
from gradinc.config.schema import Config, StrategySection
from gradinc.core.criterion import Criterion, CrossEntropy, OneHotError, SquaredError
from gradinc.core.layer_windows import LayerWindows
from gradinc.core.learner import Learner
from gradinc.core.passes import Passes
from gradinc.core.place import Place
from gradinc.core.rate import Rate
from gradinc.core.weights import Weights
from gradinc.data.task import Setting
from gradinc.runs.build import build_chain

_OWN = re.compile(r"(strategy|optimizer)(\.|=|$)")

_CRITERIA: dict[Any, type[Criterion]] = {
    "cross_entropy": CrossEntropy,
    "squared_error": SquaredError,
    "one_hot_error": OneHotError,
    F.cross_entropy: CrossEntropy,
    F.mse_loss: SquaredError,
}


def attach(
    net: nn.Module,
    optimizer: torch.optim.Optimizer | str,
    *words: str | Mapping[str, Any],
    strategy: str | list[str] = "sgd",
    window: int | Mapping[str, Any] | None = None,
    criterion: str | Criterion | nn.Module | Callable[[Tensor, Tensor], Tensor] = "cross_entropy",
    tasks: int | None = None,
    seed: int = 0,
    **keys: Any,
) -> Attached:
    """Return a learner that trains a network with a strategy, in the program's own loop.

    The same seed and the same batches give the bits of `gradinc.train`, if the optimizer is one of gradinc's by name
    or plain SGD. The network is not wrapped. Its parameters stay the same objects, and their ``data`` become views of
    one vector: so attach after ``net.to(device)``, and do not move or convert the network afterwards. A parameter
    without ``requires_grad`` is left alone. Every trained parameter always has a gradient; one that the loss does not
    depend on has zeros.

    Args:
        net: the network, on its device.
        optimizer: a PyTorch optimizer of the network's trainable parameters, which keeps its learning rates and its
            schedulers; or the name of an optimizer of gradinc, with its options as keys (``optimizer.lr``).
        words: more keys of the strategy or the optimizer, as on the command line, such as
            ``"strategy.methods.agem.memory=100"``.
        strategy: a strategy's name, or a list of names.
        window: micro-batches in an update, or a mapping of keys of ``strategy.window``.
        criterion: ``cross_entropy``, ``squared_error`` (or PyTorch's functions for these), or a
            `gradinc.core.criterion.Criterion`.
        tasks: number of tasks, which divide the memory of some methods among them.
        seed: seed of the methods' random numbers and of dropout.
        keys: more keys, as in `gradinc.train`; a mapping is a section.

    Raises:
        gradinc.UserError: a key is wrong, the strategy needs a run, or the parts do not fit each other.
    """
    config = _composed(words, strategy, window, optimizer, seed, keys)
    chain_keys = config.strategy
    if chain_keys.window.micro_batch == "auto":
        raise UserError("strategy.window.micro_batch=auto", "belongs to a run", "Give smaller batches to step")
    setting = Setting(tasks=tasks or 1)
    chain = build_chain(chain_keys, net, setting)
    for name, method in chain.methods.items():
        if tasks is None and method.needs_past and method.capacity:
            what = "divides its memory among the tasks, and their number is not known"
            raise UserError(f"strategy={name}", what, "Give tasks=…")
    loss = criterion_of(criterion)
    own = optimizer if isinstance(optimizer, torch.optim.Optimizer) else None
    if own is not None:
        _check_parameters(net, own)
    if not any(p.requires_grad for p in net.parameters()):
        raise UserError("net", "has no trainable parameters", "Set requires_grad")
    weights = Weights(net, (), chain.waits)
    rate = Rate(own or load_part("optimizer", config.optimizer.name)(weights, **config.optimizer.options), None)
    opened = chain.window(weights)
    first = {"layers": _layer_windows(weights, opened, chain_keys)} if chain.waits else {}
    passes = Passes(net, weights, loss, Place(seed, weights.value.device), by_row=chain.rule.by_row)
    learner = Learner(passes, rate, opened, chain.methods, first=first)
    return Attached(learner, chain_keys.window, setting, tasks)


def criterion_of(thing: Any) -> Criterion:
    """Return the criterion for a name, a function or a module of PyTorch, or a criterion.

    Raises:
        UserError: it has no loss for each row, which a window needs to divide by its own rows.
    """
    if isinstance(thing, Criterion):
        return thing
    if isinstance(thing, nn.CrossEntropyLoss | nn.MSELoss) and repr(thing) == repr(type(thing)()):
        plain = isinstance(thing, nn.MSELoss) or (thing.weight is None and thing.label_smoothing == 0)
        if plain and thing.reduction == "mean":
            return SquaredError() if isinstance(thing, nn.MSELoss) else CrossEntropy()
    if isinstance(thing, str | type(F.mse_loss)) and thing in _CRITERIA:
        return _CRITERIA[thing]()
    name = thing if isinstance(thing, str) else getattr(thing, "__name__", type(thing).__name__)
    fix = "Use cross_entropy, squared_error, or a subclass of gradinc.core.criterion.Criterion"
    raise UserError(f"criterion={name}", "is no loss of single rows", fix)


def _composed(
    words: tuple[str | Mapping[str, Any], ...],
    strategy: str | list[str],
    window: int | Mapping[str, Any] | None,
    optimizer: Any,
    seed: int,
    keys: Mapping[str, Any],
) -> Config:
    """Return the config of the strategy, and of the optimizer if it has a name."""
    given = isinstance(optimizer, torch.optim.Optimizer)
    if not given and not isinstance(optimizer, str):
        what = f"is a {type(optimizer).__name__}"
        raise UserError("optimizer", what, "Give a torch.optim.Optimizer, or a name such as sgd")
    more: list[Any] = [] if given else [{"optimizer": optimizer}]
    if window is not None:
        more.append({"strategy.window": window} if isinstance(window, Mapping) else {"strategy.window.size": window})
    texts = arguments([{"strategy": strategy}, {"seed": seed}, *more, *words], keys)
    for text in texts:
        if not _OWN.match(text.lstrip("+~")) and not text.startswith("seed="):
            raise UserError(
                text, "belongs to a run, and attach takes keys of strategy and optimizer", "Use gradinc.train"
            )
        if given and text.startswith("optimizer"):
            raise UserError(text, "belongs to gradinc's optimizers, and yours is a PyTorch object", "Set it there")
    config = load_config(texts)
    _check_strategy(config, strategy, texts)
    return config


def _check_strategy(config: Config, strategy: str | list[str], texts: list[str]) -> None:
    """Refuse a strategy that sets keys of a run."""
    plain = load_config(["strategy=sgd", *(text for text in texts if text.startswith(("optimizer", "seed")))]).document
    changed = [
        f"{section}.{key}"
        for section, values in config.document.items()
        if section not in ("strategy", "search") and isinstance(values, Mapping)
        for key, value in values.items()
        if plain[section].get(key) != value
    ]
    if changed:
        name = strategy if isinstance(strategy, str) else f"[{','.join(strategy)}]"
        raise UserError(f"strategy={name}", f"sets {', '.join(changed)}, which belong to a run", "Use gradinc.train")


def _layer_windows(weights: Weights, window: Any, strategy: StrategySection) -> LayerWindows:
    return LayerWindows(weights, window, strategy.window.size, strategy.window.last)


def _check_parameters(net: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Refuse an optimizer whose parameters are not exactly the network's trainable ones."""
    trained = {id(p): name for name, p in net.named_parameters() if p.requires_grad}
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if foreign := len(stepped - trained.keys()):
        raise UserError("optimizer", f"steps {foreign} parameters that net does not train", "Give net.parameters()")
    if missing := [name for number, name in trained.items() if number not in stepped]:
        fix = "Add them, or set requires_grad=False for them"
        raise UserError("optimizer", f"does not step {', '.join(missing[:3])}", fix)
