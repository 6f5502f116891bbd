"""Keys of runs' configs: the keys that differ, and the labels of runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gradinc.config.documents import flat
from gradinc.config.identity import FREE
from gradinc.config.names import short, shown
from gradinc.records.recorded import RecordedRun

SIZE = "strategy.window.size"

STRATEGY = "strategy"
"""A key of `settings` that is not a value of the config."""

MISSING = "–"
"""A key that a run does not have."""


def settings(run: RecordedRun) -> dict[str, str]:
    """Return a run's config, each key with its value as written on the command line.

    ``strategy`` is one more key: the rule and methods by name, in their order.
    """
    keys = {key: shown(value) for key, value in flat(run.config)}
    if run.config:
        keys["strategy"] = strategy_label(run.config)
    return keys


def chosen_settings(config: Mapping[str, Any]) -> dict[str, str]:
    """Return a config's choices by name, with its strategy as in `settings`; without numbers and methods' options."""
    texts = {key: value for key, value in flat(config) if isinstance(value, str) and ".methods." not in key}
    return {**texts, STRATEGY: strategy_label(config)}


def strategy_label(config: Mapping[str, Any]) -> str:
    """Return a strategy by name, as in a run's directory: ``accumulate+grokfast``."""
    strategy = config.get("strategy")
    strategy = strategy if isinstance(strategy, Mapping) else {}
    window, methods = strategy.get("window"), strategy.get("methods")
    window = window if isinstance(window, Mapping) else {}
    size, rule = window.get("size", 1), window.get("rule", "mean")
    parts = [str(rule) if rule not in ("mean", "sum") else "accumulate"] if size != 1 else []
    stream = config.get("stream")
    data = stream.get("data", "current") if isinstance(stream, Mapping) else "current"
    mode = [] if data == "current" else [str(data)]  # joint, cumulative
    return "+".join([*mode, *parts, *(str(name) for name in methods or () if isinstance(methods, Mapping))]) or "sgd"


def differing(runs: Sequence[RecordedRun], *, free: bool = False) -> list[str]:
    """Return the keys whose values differ between runs, in the order of the config.

    Keys that follow from another choice are left out: if ``model.name`` differs, the other ``model.*`` keys count
    only if they differ between runs of one model; so does ``strategy`` if the size of windows decides it.

    Args:
        free: whether to count keys without an effect on numbers, such as ``threads``.
    """
    readable = [settings(run) for run in runs if run.config]
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


def label(run: RecordedRun, keys: Sequence[str]) -> str:
    """Return a run's values of the keys: ``strategy=agem lr=0.1``, as short as they are clear."""
    values = settings(run)
    return " ".join(f"{short(key, keys)}={values.get(key, MISSING)}" for key in keys)
