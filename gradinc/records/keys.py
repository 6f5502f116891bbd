"""Keys of runs' configs: the keys that differ, and the labels of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gradinc.base.text import NONE
from gradinc.config.documents import flat
from gradinc.config.identity import FREE, NEUTRAL, named_beside, optimizer_name, strategy_label, strategy_name
from gradinc.config.names import short, shown
from gradinc.records.recorded import RecordedRun

SIZE = "strategy.window.size"

STRATEGY = "strategy"
"""A key of `settings` that is not a value of the config."""

TYPED = "strategy.name"

OPTIMIZER = "optimizer.name"

SEEDS = ("seed", "init")
"""Keys in which the runs of one setting differ."""

MISSING = "–"
"""A key that a run does not have."""


def settings(run: RecordedRun) -> dict[str, str]:
    """Return a run's config, each key with its value as written on the command line.

    ``strategy`` is one more key: its name as it was chosen, else its rule and methods by name, in their order. An
    optimizer of a collection has its name there.
    """
    keys = {key: shown(value) for key, value in flat(run.config) if key != TYPED}
    if run.config:
        keys[STRATEGY] = strategy_name(run.config)
    if OPTIMIZER in keys:
        keys[OPTIMIZER] = optimizer_name(run.config)
    return keys


def named_settings(runs: Sequence[RecordedRun]) -> list[dict[str, str]]:
    """Return the `settings` of runs that are compared, with one name for each strategy.

    A strategy can have several names, as ``sgd`` and ``finetune``, and runs of an older version have none.
    """
    found = [settings(run) for run in runs]
    names: dict[str, str] = {}
    for run, values in zip(runs, found, strict=True):
        if run.value("config", *TYPED.split(".")) is not None:
            names.setdefault(_content(run), values[STRATEGY])
    for run, values in zip(runs, found, strict=True):
        if run.config:
            values[STRATEGY] = names.get(_content(run), values[STRATEGY])
    return found


def _content(run: RecordedRun) -> str:
    """Return everything that a run computes, except for its seed."""
    return repr(
        sorted((key, shown(value)) for key, value in flat(run.config) if key not in SEEDS and not _is_free(key))
    )


def chosen_settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a config's choices by name, and the label of its strategy; without numbers and methods' options."""
    texts = {key: value for key, value in flat(config) if isinstance(value, str) and ".methods." not in key}
    return {**{key: value for key, value in texts.items() if key != TYPED}, STRATEGY: strategy_label(config)}


def differing(runs: Sequence[RecordedRun], *, free: bool = False) -> list[str]:
    """Return the keys whose values differ between runs, in the order of the config.

    Keys that follow from another choice are left out: if ``model.name`` differs, the other ``model.*`` keys count
    only if they differ between runs of one model; so does ``strategy`` if the size of windows decides it.

    Args:
        free: whether to count keys without an effect on numbers, such as ``threads``.
    """
    readable = named_settings([run for run in runs if run.config])
    keys = list(dict.fromkeys(key for values in readable for key in values))
    different = [key for key in keys if len({values.get(key, MISSING) for values in readable}) > 1]
    different = [key for key in different if free or not _is_free(key)]
    heads = {"strategy": "strategy"} | {key.removesuffix(".name"): key for key in different if key.endswith(".name")}
    kept = [key for key in different if not _follows(key, heads, different, readable)]
    named = SIZE in kept and "strategy" in kept and _decides(SIZE, "strategy", readable)
    return [key for key in kept if not (named and key == "strategy")]


def _follows(key: str, heads: Mapping[str, str], different: Sequence[str], readable: Sequence[dict[str, str]]) -> bool:
    """Return whether a key differs only because its section's name does."""
    head = "strategy" if key == "stream.data" else heads.get(key.partition(".")[0])
    return head is not None and head != key and head in different and _decides(head, key, readable)


def _decides(head: str, key: str, readable: Sequence[dict[str, str]]) -> bool:
    """Return whether each value of `head` occurs with only one value of `key`."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for values in readable:
        found[values.get(head, MISSING)].add(values.get(key, MISSING))
    return all(len(values) == 1 for values in found.values())


def _is_free(key: str) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in FREE)


def label(values: Mapping[str, str], keys: Sequence[str]) -> str:
    """Return the values of the keys as short as they are clear: ``agem lr=0.1``, without missing keys.

    The name of a strategy, a model or another part needs no key, and the plain one of strategy and optimizer is left
    out beside another.
    """
    if STRATEGY in keys and OPTIMIZER in keys:
        kept = named_beside(values.get(STRATEGY, MISSING), values.get(OPTIMIZER, MISSING))
        keys = [key for key in keys if key not in (STRATEGY, OPTIMIZER) or values.get(key) in kept]
        if kept == [NEUTRAL]:
            keys = [key for key in keys if key != OPTIMIZER]
    known = [(key, values[key]) for key in keys if values.get(key, MISSING) != MISSING]
    names = [value for key, value in known if _names_part(key)]
    others = [f"{short(key, keys)}={value}" for key, value in known if not _names_part(key)]
    return " ".join([*names, *others]) or NONE


def _names_part(key: str) -> bool:
    return key == STRATEGY or key.endswith(".name")
