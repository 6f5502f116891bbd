"""The keys that a run's numbers depend on, and the run's name from them."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from gradinc.config.documents import flat, mapping
from gradinc.config.schema import LONGEST_NAME, Config

FREE = (
    "output",
    "name",
    "search",
    "device",
    "threads",
    "checkpoint",
    "log",
    "diagnostics",
    "progress",
    "track",
    "fresh",
    "strict",
    "strategy.name",
    "data.workers",
    "data.memory",
    "evaluate.tasks",
)
"""Keys and sections that may change between starts of a run: where it runs, how fast, and what it
reports, but not what it computes. ``evaluate.epochs`` is also one, unless ``budget.accuracy`` ends
the training, which then depends on the times of validation."""

YOUNGER_KEYS: dict[str, Any] = {
    "budget.rows": None,
    "budget.tokens": None,
    "criterion.class_weights": None,
    "criterion.label_smoothing": 0.0,
    "data.group_by_length": False,
    "data.task": "auto",
    "evaluate.metric": None,
    "evaluate.rows": "test",
    "evaluate.steps": None,
    "model.freeze": [],
    "stream.updates_per_batch": 1,
    "metrics": [],
    "model.bias_init": None,
    "schedule.warmup_factor": None,
    "strategy.methods.adam_nscl.means": None,
    "strategy.methods.agem.kind": "random",
    "strategy.methods.asam.scales": "all",
    "strategy.methods.er.among": "all",
    "strategy.methods.er.loss": "pooled",
    "strategy.methods.ewc.batch": 32,
    "strategy.methods.gem.kind": "random",
    "strategy.methods.grokfast.warmup": False,
    "strategy.methods.gss.screen": "rows",
    "strategy.methods.icarl.temperature": 1.0,
    "strategy.methods.mas.batch": 1,
    "strategy.methods.mas.gamma": 1.0,
    "strategy.methods.mas.outputs": "sum",
    "strategy.methods.mega.memory_kind": "random",
    "strategy.methods.mir.against": "now",
    "strategy.methods.mir.among": "all",
    "strategy.methods.mir.loss": "pooled",
    "strategy.methods.rwalk.fisher_every": 1,
    "strategy.methods.rwalk.past": 0.5,
    "strategy.methods.rwalk.squares": "updates",
    "strategy.methods.si.bound": "task",
    "strategy.methods.si.path": "loss",
}
"""Keys that are newer than the first runs. With this value a run is the same as without the key."""

YOUNGER_OF_MODELS: dict[str, dict[str, Any]] = {"mlp": {"model.norm": "none", "model.norm_output": False}}
"""The same for keys that only one model did not have from the beginning, by the model's name."""

_OLDER_NAMES = {"criterion.name": "criterion"}
"""Keys that had another name in the first runs."""


NEUTRAL = "sgd"
"""The strategy without a window and methods, and the optimizer, that a run's name leaves out beside others."""


def run_name(config: Config) -> str:
    """Return the directory name of a run, from its choices and what it computes: ``digits-cnn-er-lion-s0-1a2b3c4d``."""
    return _name_and_tail(config)[0]


def _name_and_tail(config: Config) -> tuple[str, str]:
    label = "-".join(named_beside(strategy_name(config.document), optimizer_name(config.document)))
    stream = "" if config.stream.name == "iid" else f"{config.stream.name}-"
    model = config.model.name
    if model == "module":  # an object of a Python program: named by its class
        model = re.sub(r"\W", "_", str(config.model.options["net"]).rpartition(".")[2]) or model
    head = f"{config.data.name}-{model}-{stream}{label}"
    tail = name_tail(config)
    return head[: LONGEST_NAME - len(tail)] + tail, tail


def name_tail(config: Config) -> str:
    """Return the end of a run's name, which identifies the run whatever its beginning: ``-s0-1a2b3c4d``."""
    return f"-s{config.seed}-{identity_digest(config)[:8]}"


def run_directory(config: Config) -> Path:
    """Return the directory of a run: an existing one of its content, whatever its first words, or the one to make.

    A strategy of several names is one run, for example ``finetune`` and ``sgd``, and a name can be of an older version.
    """
    output = Path(config.output)
    if config.name:
        return output / config.name
    name, tail = _name_and_tail(config)
    own = output / name
    if own.exists():
        return own
    try:
        names = sorted(name for name in os.listdir(output) if name.endswith(tail))
    except OSError:  # it does not exist yet, or is reported where it is used
        names = []
    return next((output / name for name in names if (output / name).is_dir()), own)


def as_name(text: str) -> str:
    """Return a text in the letters and the length of a run's name."""
    return re.sub(r"[^A-Za-z0-9._=,+-]", "-", text).lstrip("._=,+-")[:LONGEST_NAME] or NEUTRAL


def strategy_name(config: Mapping[str, Any]) -> str:
    """Return the name of a strategy as it was chosen, or else `strategy_label`."""
    strategy = config.get("strategy")
    name = strategy.get("name") if isinstance(strategy, Mapping) else None
    return name if isinstance(name, str) else strategy_label(config)


def optimizer_name(config: Mapping[str, Any]) -> str:
    """Return the name of an optimizer: of one in a collection, its name there."""
    section = mapping(config, "optimizer")
    return str(section.get("algorithm", section.get("name")))


def named_beside(strategy: str, optimizer: str) -> list[str]:
    """Return the names of a strategy and an optimizer without `NEUTRAL`, unless nothing else is left."""
    return [name for name in (strategy, optimizer) if name != NEUTRAL] or [NEUTRAL]


def strategy_label(config: Mapping[str, Any]) -> str:
    """Return a strategy by its rule and its methods: ``accumulate+grokfast``."""
    strategy = config.get("strategy")
    strategy = strategy if isinstance(strategy, Mapping) else {}
    window, methods = strategy.get("window"), strategy.get("methods")
    window = window if isinstance(window, Mapping) else {}
    size, rule = window.get("size", 1), window.get("rule", "mean")
    parts = [str(rule) if rule not in ("mean", "sum") else "accumulate"] if size != 1 else []
    stream = config.get("stream")
    data = stream.get("data", "current") if isinstance(stream, Mapping) else "current"
    mode = [] if data == "current" else [str(data)]  # joint, cumulative
    return "+".join([*mode, *parts, *(str(name) for name in methods or () if isinstance(methods, Mapping))]) or NEUTRAL


def identity_digest(config: Config) -> str:
    """Return the SHA-256 over the keys that the run's numbers depend on, in the order of methods, in hexadecimal."""
    return document_digest(config.document)


def document_digest(document: Mapping[str, Any]) -> str:
    """Return `identity_digest` of a config that is only a document."""
    document = identified(document)
    text = json.dumps(document, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """Return the keys that differ between two documents and that the run's numbers depend on.

    Returns:
        Each key, its old value and its new value; None represents a missing key.
    """
    before, after = ({**(own := dict(_identity(each))), **(_younger(each) | own)} for each in (old, new))
    keys = [*before, *(key for key in after if key not in before)]
    return [(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def identified(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a document that its run's numbers depend on, flat, with their values."""
    younger = _younger(document)
    return {key: value for key, value in _identity(document) if key not in younger or value != younger[key]}


@cache
def is_free(key: str, *, by_accuracy: bool = False) -> bool:
    """Return whether a run's numbers do not depend on a key, see `FREE`.

    Args:
        key: a dotted key.
        by_accuracy: whether ``budget.accuracy`` ends the training.
    """
    free = FREE if by_accuracy else (*FREE, "evaluate.epochs")
    return any(key == name or key.startswith(f"{name}.") for name in free)


def _younger(document: Mapping[str, Any]) -> dict[str, Any]:
    return YOUNGER_KEYS | YOUNGER_OF_MODELS.get(str(mapping(document, "model").get("name")), {})


def _identity(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    by_accuracy = mapping(document, "budget").get("accuracy") is not None
    for key, value in flat(document):
        key = _OLDER_NAMES.get(key, key)
        if value != {} and not is_free(key, by_accuracy=by_accuracy):
            yield key, value
    # The names of the methods once more, as a list: in a mapping their order would be lost.
    yield "strategy.methods", list(mapping(mapping(document, "strategy"), "methods", "strategy."))
