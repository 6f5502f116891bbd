"""A run is named by what it computes: no more, no less."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradinc.config.compose import load_config
from gradinc.config.identity import FREE, YOUNGER_KEYS, changed, document_digest, run_name
from gradinc.config.validation import validate

DEFAULT = load_config().document

FREE_CHANGES: dict[str, Any] = {
    "output": st.sampled_from(["outputs", "elsewhere", "/tmp/x"]),
    "name": st.sampled_from([None, "mine"]),
    "search": st.sampled_from([None, "outputs/rates"]),
    "device": st.sampled_from(["auto", "cpu", "cuda:1"]),
    "threads": st.one_of(st.just("auto"), st.integers(1, 64)),
    "checkpoint.seconds": st.floats(0, 1e6),
    "checkpoint.keep": st.integers(1, 9),
    "log.steps": st.integers(1, 1000),
    "track": st.sampled_from([[], "mlflow", ["tensorboard", "wandb"]]),
    "progress": st.sampled_from(["auto", "plain", "quiet"]),
    "fresh": st.booleans(),
    "strict": st.booleans(),
    "diagnostics": st.booleans(),
    "strategy.name": st.sampled_from([None, "mine"]),
    "data.workers": st.integers(0, 8),
    "data.memory": st.sampled_from(["auto", "tensor", "stream"]),
    "evaluate.epochs": st.integers(1, 9),
    "evaluate.tasks": st.sampled_from(["seen", "all", "needed"]),
}

CHANGES: dict[str, Any] = {
    "seed": 1,
    "dtype": "float64",
    "init": "outputs/x",
    "data.name": "mnist",
    "data.root": "/data",
    "data.batch_size": 33,
    "data.validation": 0.2,
    "data.test": 0.3,
    "data.split_seed": 1,
    "data.normalize": "unit",
    "data.pad": 2,
    "data.shuffle": False,
    "data.group_by_length": True,
    "criterion.name": "squared_error",
    "criterion.class_weights": "balanced",
    "data.augment": ["flip"],
    "metrics": ["top5"],
    "model.freeze": ["conv1"],
    "model.width": 33,
    "model.norm": "batch",
    "optimizer.lr": 0.06,
    "optimizer.momentum": 0.8,
    "schedule.warmup": 5,
    "schedule.warmup_factor": 0.1,
    "schedule.updates": 500,
    "schedule.task_factor": 0.5,
    "schedule.task_floor": 0.1,
    "stream.data": "joint",
    "stream.memory": 100,
    "stream.samples_per_task": 100,
    "stream.scored_tasks": 1,
    "stream.memory_unit": "task",
    "stream.restart": "optimizer",
    "stream.updates_per_batch": 2,
    "stream.seed": 1,
    "strategy.window.size": 2,
    "strategy.window.rule": "sum",
    "strategy.window.last": "drop",
    "strategy.window.due": "items",
    "strategy.window.micro_batch": "auto",
    "strategy.window.layers": {"*": 8},
    "strategy.scale_lr": "linear",
    "strategy.scale_beta2": True,
    "strategy.methods": {"clip": {}},
    "corrupt.prob": 0.1,
    "corrupt.scale": 10.0,
    "corrupt.kind": "flip",
    "corrupt.start": 5,
    "corrupt.stop": 9,
    "budget.epochs": 3,
    "budget.steps": 3,
    "budget.samples": 3,
    "budget.tokens": 100_000,
    "budget.rows": 3,
    "budget.passes": 3,
    "budget.seconds": 3.0,
    "budget.accuracy": 0.9,
    "evaluate.rows": "validation",
    "evaluate.metric": "margin-0123456789abcdef",
    "evaluate.steps": 5,
}


def with_changes(changes: dict[str, Any], document: dict[str, Any] = DEFAULT) -> dict[str, Any]:
    result = copy.deepcopy(document)
    for key, value in changes.items():
        node = result
        *sections, last = key.split(".")
        for section in sections:
            node = node[section]
        node[last] = value
    return result


def name_with(changes: dict[str, Any], document: dict[str, Any] = DEFAULT) -> str:
    return run_name(validate(with_changes(changes, document)))


@given(st.fixed_dictionaries({}, optional=FREE_CHANGES))
def test_free_keys_change_neither_the_name_nor_the_identity(changes: dict[str, Any]) -> None:
    said = changes.get("strategy.name") or "sgd"  # the only free key that a name has, beside what is computed
    assert name_with(changes) == run_name(validate(DEFAULT)).replace("-sgd-", f"-{said}-")
    assert document_digest(with_changes(changes)) == document_digest(DEFAULT)
    assert changed(DEFAULT, with_changes(changes)) == []


@pytest.mark.parametrize("key", CHANGES)
def test_every_other_key_changes_both(key: str) -> None:
    new = with_changes({key: CHANGES[key]})
    assert name_with({key: CHANGES[key]}) != run_name(validate(DEFAULT))
    shown = "criterion" if key == "criterion.name" else key  # its name in the first runs
    assert any(f"{found}.".startswith(f"{shown}.") for found, _, _ in changed(DEFAULT, validate(new).document))


OF_TASKS = {"scenario": "task", "stream.heads": "masked", "stream.train_logits": "seen", "stream.test_logits": "seen"}


@pytest.mark.parametrize("key", OF_TASKS)
def test_the_protocol_of_a_stream_changes_both(key: str) -> None:
    split = load_config(["stream=split"])
    other = load_config(["stream=split", f"{key}={OF_TASKS[key]}"])
    assert run_name(split) != run_name(other)
    assert changed(split.document, other.document) == [(key, None, OF_TASKS[key])]


def test_every_key_is_either_free_or_tried_above() -> None:
    def leaves(node: dict[str, Any], where: str = "") -> set[str]:
        found: set[str] = set()
        for key, value in node.items():
            found |= leaves(value, f"{where}{key}.") if isinstance(value, dict) and value else {f"{where}{key}"}
        return found

    # A part's own options are all alike; two of them stand for the others.
    own = {f"{kind}.{name}" for kind in ("model", "optimizer") for name in DEFAULT[kind]} - set(CHANGES)
    names = {"stream.name", "schedule.name"}  # the name of a part is an option of its section like the others
    names |= set(OF_TASKS)  # which a stream of one task does not take
    assert leaves(DEFAULT) - own - names == set(CHANGES) | set(FREE_CHANGES)
    assert {key for key in FREE_CHANGES if any(key == f or key.startswith(f"{f}.") for f in FREE)} == (
        set(FREE_CHANGES) - {"evaluate.epochs"}
    )


def test_the_cadence_of_validation_counts_when_accuracy_ends_the_run() -> None:
    by_accuracy = with_changes({"budget.accuracy": 0.9})
    assert name_with({"evaluate.epochs": 2}, by_accuracy) != name_with({}, by_accuracy)
    assert name_with({"evaluate.epochs": 2}) == name_with({})
    other = with_changes({"evaluate.epochs": 2}, by_accuracy)
    assert changed(by_accuracy, other) == [("evaluate.epochs", 1, 2)]


def test_a_run_from_before_there_was_a_key_is_the_same_run() -> None:
    before = copy.deepcopy(DEFAULT)
    del before["evaluate"]["rows"]
    assert name_with({}, before) == name_with({})
    assert changed(before, DEFAULT) == []
    assert changed(before, with_changes({"evaluate.rows": "validation"})) == [("evaluate.rows", "test", "validation")]


@pytest.mark.parametrize("key", [key for key in YOUNGER_KEYS if key.startswith("strategy.methods.")])
def test_a_run_from_before_a_method_had_an_option_is_the_same_run(key: str) -> None:
    *_, method, option = key.split(".")
    now = load_config([f"strategy={method}"]).document
    before = copy.deepcopy(now)
    assert before["strategy"]["methods"][method].pop(option) == YOUNGER_KEYS[key]
    assert document_digest(before) == document_digest(now)
    assert changed(before, now) == []
    other = copy.deepcopy(now)
    other["strategy"]["methods"][method][option] = "other"
    assert document_digest(other) != document_digest(now)
    assert changed(before, other) == [(key, YOUNGER_KEYS[key], "other")]


@pytest.mark.parametrize(("option", "other"), [("bias_init", 0.1), ("norm", "batch")])
def test_a_perceptron_from_before_it_had_an_option_is_the_same_run(option: str, other: Any) -> None:
    document = load_config(["model=mlp"]).document
    before = copy.deepcopy(document)
    del before["model"][option]
    assert document_digest(before) == document_digest(document)
    assert changed(before, document) == []
    assert document_digest(load_config(["model=mlp", f"model.{option}={other}"]).document) != document_digest(before)


def test_a_convolutional_network_always_had_a_normalisation() -> None:
    document = load_config(["model=cnn"]).document
    before = copy.deepcopy(document)
    del before["model"]["norm"]
    assert document_digest(before) != document_digest(document)


def test_the_order_of_methods_counts_and_no_other_order_does() -> None:
    first = with_changes({"strategy.methods": {"clip": {}, "noise": {}}})
    second = with_changes({"strategy.methods": {"noise": {}, "clip": {}}})
    assert run_name(validate(first)) != run_name(validate(second))
    documents = validate(first).document, validate(second).document
    assert changed(*documents) == [("strategy.methods", ["clip", "noise"], ["noise", "clip"])]
    turned = {key: dict(reversed(v.items())) if isinstance(v, dict) else v for key, v in reversed(DEFAULT.items())}
    assert run_name(validate(turned)) == run_name(validate(DEFAULT))


def test_changes_are_told_with_old_and_new_value() -> None:
    new = with_changes({"optimizer.lr": 0.06, "device": "cpu"})
    assert changed(DEFAULT, new) == [("optimizer.lr", 0.05, 0.06)]


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "sgd"),
        ({"strategy.window.size": 8}, "accumulate"),
        ({"strategy.methods": {"clip": {}}}, "clip"),
        ({"strategy.window.size": 8, "strategy.methods": {"noise": {}, "clip": {}}}, "accumulate+noise+clip"),
    ],
)
def test_a_name_tells_what_runs(changes: dict[str, Any], label: str) -> None:
    assert re.fullmatch(rf"digits-cnn-{re.escape(label)}-s7-[0-9a-f]{{8}}", name_with({**changes, "seed": 7}))


def test_the_longest_name_is_still_a_name() -> None:
    from gradinc.config.catalog import parts

    everything = {"seed": 2**63 - 1, "strategy.methods": {part.name: {} for part in parts("method")}}
    name = name_with(everything)
    assert len(name) <= 100
    assert name_with({"name": name})
    assert name[-9:] != name_with({"strategy.methods": everything["strategy.methods"]})[-9:]
