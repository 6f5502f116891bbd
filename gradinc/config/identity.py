"""The keys that a run's numbers depend on, and the run's name from them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
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
    "fresh",
    "strict",
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
    "data.task": "auto",
    "evaluate.rows": "test",
    "model.freeze": [],
    "model.bias_init": None,
    "schedule.warmup_factor": None,
    "strategy.methods.adam_nscl.means": None,
    "strategy.methods.asam.scales": "all",
    "strategy.methods.ewc.batch": 32,
    "strategy.methods.grokfast.warmup": False,
    "strategy.methods.mas.batch": 1,
    "strategy.methods.mas.gamma": 1.0,
    "strategy.methods.mas.outputs": "sum",
    "strategy.methods.mir.among": "all",
    "strategy.methods.mir.loss": "pooled",
    "strategy.methods.rwalk.fisher_every": 1,
    "strategy.methods.rwalk.past": 0.5,
    "strategy.methods.si.bound": "task",
    "strategy.methods.si.path": "loss",
}
"""Keys that are newer than the first runs. With this value a run is the same as without the key."""

YOUNGER_OF_MODELS: dict[str, dict[str, Any]] = {"mlp": {"model.norm": "none", "model.norm_output": False}}
"""The same for keys that only one model did not have from the beginning, by the model's name."""


def run_name(config: Config) -> str:
    """Return the directory name of a run, from what it computes: ``digits-cnn-accumulate-s0-1a2b3c4d``."""
    strategy = config.strategy
    mode = [] if config.stream.data == "current" else [config.stream.data]
    label = "+".join([*mode, *(["accumulate"] if strategy.window.size > 1 else []), *strategy.methods]) or "sgd"
    stream = "" if config.stream.name == "iid" else f"{config.stream.name}-"
    head = f"{config.data.name}-{config.model.name}-{stream}{label}"
    tail = f"-s{config.seed}-{identity_digest(config)[:8]}"
    return head[: LONGEST_NAME - len(tail)] + tail


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
    before, after = _younger(old) | dict(_identity(old)), _younger(new) | dict(_identity(new))
    keys = [*before, *(key for key in after if key not in before)]
    return [(key, before.get(key), after.get(key)) for key in keys if before.get(key) != after.get(key)]


def identified(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a document that its run's numbers depend on, flat, with their values."""
    younger = _younger(document)
    return {key: value for key, value in _identity(document) if key not in younger or value != younger[key]}


def _younger(document: Mapping[str, Any]) -> dict[str, Any]:
    return YOUNGER_KEYS | YOUNGER_OF_MODELS.get(str(mapping(document, "model").get("name")), {})


def _identity(document: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    by_accuracy = mapping(document, "budget").get("accuracy") is not None
    free = FREE if by_accuracy else (*FREE, "evaluate.epochs")
    for key, value in flat(document):
        if value != {} and not any(key == name or key.startswith(f"{name}.") for name in free):
            yield key, value
    # The names of the methods once more, as a list: in a mapping their order would be lost.
    yield "strategy.methods", list(mapping(mapping(document, "strategy"), "methods", "strategy."))
