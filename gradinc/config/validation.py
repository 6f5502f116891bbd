"""Checks of a composed document: every key is known, every value fits, and no two keys contradict each other."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from gradinc.base.errors import UserError
from gradinc.config import catalog, groups
from gradinc.config.check import part_options, section
from gradinc.config.documents import flat, mapping, refuse_targets
from gradinc.config.names import choose, nearest_key, nearest_word, shown, written
from gradinc.config.placing import UnknownOption
from gradinc.config.protocol import check_one_task, protocol
from gradinc.config.schema import (
    PARTS,
    PLAIN,
    STRATEGY_KEYS,
    TOP_KEYS,
    BudgetSection,
    Config,
    StrategySection,
    WindowSection,
    common_keys,
)


def validate(document: Mapping[str, Any]) -> Config:
    """Check a composed document and return it as a `Config`.

    Raises:
        UserError: a key is unknown or missing, a value has the wrong type or is out of range, a
            part has no such name, or keys contradict each other. The first one found is reported.
    """
    refuse_targets(document)
    if isinstance(criterion := document.get("criterion"), str):  # in the configs of the first runs
        document = {**document, "criterion": {"name": criterion}}
    parts = _chosen(document)
    _refuse_other_keys(document, parts)
    strategy = mapping(document, "strategy")
    window = mapping(strategy, "window", "strategy.")
    methods = mapping(strategy, "methods", "strategy.")
    config = section(
        Config,
        {name: document[name] for name in TOP_KEYS if name in document},
        "",
        **{kind: _part_section(kind, part, mapping(document, kind)) for kind, part in parts.sections.items()},
        strategy=section(
            StrategySection,
            {name: given for name, given in strategy.items() if name not in ("window", "methods")},
            "strategy.",
            window=_window_section(parts, window),
            methods={
                name: part_options(part, mapping(methods, name, "strategy.methods."), f"strategy.methods.{name}.")
                for name, part in parts.methods.items()
            },
        ),
        **{name: section(kind, mapping(document, name), f"{name}.") for name, kind in PLAIN.items()},
    )
    _check_together(config)
    return config


class _Parts(NamedTuple):
    """The parts that a document chooses."""

    sections: dict[str, catalog.Part]
    rule: catalog.Part
    due: catalog.Part
    methods: dict[str, catalog.Part]

    @property
    def of_window(self) -> dict[str, catalog.Part]:
        """Return the parts of a window, by their kind."""
        return {"rule": self.rule, "due": self.due}


def _chosen(document: Mapping[str, Any]) -> _Parts:
    sections = {}
    for kind in PARTS:
        name = mapping(document, kind).get("name")
        if name is None:
            raise UserError(kind, "is not chosen", f"Give {kind}=…, one of {', '.join(groups.names(kind))}")
        sections[kind] = catalog.part(kind, shown(name))
    strategy = mapping(document, "strategy")
    window = mapping(strategy, "window", "strategy.")
    rule, due = (shown(window.get(kind, getattr(WindowSection, kind))) for kind in ("rule", "due"))
    methods = mapping(strategy, "methods", "strategy.")
    return _Parts(
        sections,
        catalog.part("rule", rule, f"strategy.window.rule={rule}"),
        catalog.part("due", due, f"strategy.window.due={due}"),
        {str(name): catalog.part("method", str(name), f"strategy.methods.{name}") for name in methods},
    )


def _part_section(kind: str, part: catalog.Part, given: Mapping[str, Any]) -> Any:
    own = {name: item for name, item in given.items() if name in part.parameters}
    common = {name: item for name, item in given.items() if name not in part.parameters}
    return section(PARTS[kind], common, f"{kind}.", options=part_options(part, own, f"{kind}."))


def _window_section(parts: _Parts, window: Mapping[str, Any]) -> Any:
    nested = {part.name for part in parts.of_window.values() if part.parameters}
    own = {
        f"{kind}_options": part_options(
            part, mapping(window, part.name, "strategy.window."), f"strategy.window.{part.name}."
        )
        for kind, part in parts.of_window.items()
        if part.parameters
    }
    common = {name: given for name, given in window.items() if name not in nested}
    return section(WindowSection, common, "strategy.window.", **own)


def _known_keys(parts: _Parts) -> set[str]:
    """Return every key that can be set with these parts."""
    keys = set(TOP_KEYS)
    for name, kind in {**PLAIN, **PARTS, "strategy.window": WindowSection}.items():
        keys |= {f"{name}.{key}" for key in common_keys(kind)}
    for kind_name, part in parts.sections.items():
        keys |= {f"{kind_name}.{key}" for key in part.parameters}
    keys |= {f"strategy.{key}" for key in STRATEGY_KEYS}
    for part in parts.of_window.values():
        keys |= {f"strategy.window.{part.name}.{key}" for key in part.parameters}
    for name, part in parts.methods.items():
        keys |= {f"strategy.methods.{name}.{key}" for key in part.parameters}
    return keys


def _refuse_other_keys(document: Mapping[str, Any], parts: _Parts) -> None:
    known = _known_keys(parts)
    sections = {key[:end] for key in known for end, letter in enumerate(key) if letter == "."}
    sections |= {"strategy.methods", *(f"strategy.methods.{name}" for name in parts.methods)}
    for key, _ in flat(document):
        if key in sections or any(key == name or key.startswith(f"{name}.") for name in known):
            continue
        raise _no_such_key(key, parts, known)


def _no_such_key(key: str, parts: _Parts, known: set[str]) -> UserError:
    """Return the message for an unknown key: the part that has it, or the key that was probably meant."""
    kind, _, option = key.partition(".")
    owners = [part.name for part in catalog.parts(kind) if option in part.parameters] if kind in PARTS else []
    if owners:
        fix = "It is one of " + ", ".join(f"{kind}={name}" for name in owners)
        return UnknownOption(key, f"{kind}={parts.sections[kind].name} has no such option", fix)
    for kind, chosen in parts.of_window.items():
        for part in catalog.parts(kind):
            if part != chosen and key in {f"strategy.window.{part.name}.{name}" for name in part.parameters}:
                what = f"is for {kind} {part.name}, and strategy.window.{kind} is {chosen.name}"
                return UserError(key, what, f"Set strategy.window.{kind}={part.name}, or leave it out")
    section, _, last = key.rpartition(".")
    words = {name.removeprefix(f"{section}.").partition(".")[0] for name in known if name.startswith(f"{section}.")}
    if section and words:
        deeper = sorted(name for name in known if name.startswith(f"{section}.") and name.endswith(f".{last}"))
        if deeper:
            return UserError(key, "no such key", f"Did you mean {deeper[0]}?")
        return _no_such_word(key, section, last, words)
    near = nearest_key(key, known | set(groups.GROUPS))
    return UserError(key, "no such key", f"Did you mean {near}?" if near else "See gradinc train --help")


def _no_such_word(key: str, section: str, last: str, words: set[str]) -> UserError:
    """Return the message for an unknown key of a known section: the nearest key, or all keys."""
    if (near := nearest_word(last, words)) is not None:
        return UserError(key, "no such key", f"Did you mean {section}.{near}?")
    parts = catalog.parts(section) if section in PARTS else []
    near = nearest_word(last, {option for part in parts for option in part.parameters})
    if near is not None:
        names = ", ".join(f"{section}={part.name}" for part in parts if near in part.parameters)
        return UserError(key, "no such key", f"Did you mean {section}.{near}, an option of {names}?")
    return UserError(key, "no such key", choose(last, sorted(words - {"name"})))


def _check_together(config: Config) -> None:
    """Check names in lists, and combinations of keys."""
    for kind, key, names in (
        ("metric", "metrics", config.metrics),
        ("augmentation", "data.augment", config.data.augment),
    ):
        for name in names:
            catalog.part(kind, name, written(key, names))
        if len(set(names)) < len(names):
            raise UserError(written(key, names), "has a name twice", "Write each name once")
    limits = [getattr(config.budget, name) for name in common_keys(BudgetSection)]
    if all(limit is None or limit == math.inf for limit in limits):
        raise UserError("budget", "every limit is null, so training would not end", "Set budget.epochs or another one")
    if config.stream.name == "iid":
        check_one_task(config.scenario, config.stream)
    elif config.scenario is not None:  # without it the classes of the tasks decide
        protocol(config.scenario, config.stream)
    if config.budget.accuracy is not None and config.data.validation == 0:
        where = written("budget.accuracy", config.budget.accuracy)
        raise UserError(where, "needs validation rows, and data.validation is 0", "Set data.validation=0.1")
    if config.evaluate.rows == "validation" and config.data.validation == 0:
        where = written("evaluate.rows", config.evaluate.rows)
        raise UserError(where, "there are none, since data.validation is 0", "Set data.validation=0.1")
    if config.budget.passes is not None and config.strategy.window.micro_batch == "auto":
        what = "counts micro-batches, whose size depends on the machine with strategy.window.micro_batch=auto"
        raise UserError(written("budget.passes", config.budget.passes), what, "Use budget.rows")
    _check_windows(config.strategy)
    if config.stream.updates_per_batch > 1:
        window = config.strategy.window
        for key, value, wanted in (("due", window.due, "size"), ("last", window.last, "flush")):
            if value != wanted:
                where = written("stream.updates_per_batch", config.stream.updates_per_batch)
                what = f"goes with strategy.window.{key}={wanted} only"
                raise UserError(where, what, "Leave out one of the two")


def _check_windows(strategy: StrategySection) -> None:
    """Refuse longer windows of layers and automatic micro-batches, except with the mean over windows of one size."""
    window = strategy.window
    for pattern, size in window.layers.items():
        if size % window.size:
            where, what = (
                f"strategy.window.layers={{{pattern}:{size}}}",
                f"is not a multiple of window.size={window.size}",
            )
            raise UserError(where, what, f"Use {-(-size // window.size) * window.size}")
    fixed: dict[str, Any] = {"window.rule": "mean", "window.due": "size", "scale_lr": "none", "scale_beta2": False}
    given: dict[str, Any] = {"window.rule": window.rule, "window.due": window.due}
    given |= {"scale_lr": strategy.scale_lr, "scale_beta2": strategy.scale_beta2}
    asking = {"layers": bool(window.layers), "micro_batch=auto": window.micro_batch == "auto"}
    for where in (name for name, asked in asking.items() if asked):
        for key, wanted in fixed.items():
            if given[key] != wanted:
                what = f"goes with strategy.{written(key, wanted)} only"
                raise UserError(f"strategy.window.{where}", what, "Leave out one of the two")
