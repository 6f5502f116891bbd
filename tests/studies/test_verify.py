"""P20: ``gradinc verify`` finds what is not as the run left it, and changes nothing."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lives import End, Nursery, only_run, snapshot

from gradinc.runs import checkpoint
from gradinc.runs.comparison import CLOCK

SMALL = ("model=mlp", "model.width=8", "data.batch_size=100", "progress=plain", "name=mine")
RUNS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "finished, saved often": ((*SMALL, "budget.epochs=2", "checkpoint.seconds=0"), {}),
    "finished, saved once": ((*SMALL, "budget.epochs=2"), {}),
    "a stream of tasks": ((*SMALL, "stream=split", "stream.tasks=2", "budget.epochs=2", "strategy=ewc"), {}),
    "killed in a window": (
        (*SMALL, "budget.epochs=3", "strategy=accumulate", "strategy.window.size=3", "checkpoint.seconds=0"),
        {"crash": "pruned:18"},
    ),
    "by the clock": ((*SMALL, "budget.seconds=0.3"), {}),
    "with another log": ((*SMALL, "budget.epochs=2", "log.steps=3", "diagnostics=true", "evaluate.epochs=2"), {}),
    "diverged": ((*SMALL, "optimizer.lr=1e20", "checkpoint.seconds=0"), {}),
}
"""Runs of every kind of end."""


@pytest.fixture(scope="module")
def runs(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def give(name: str) -> Path:
        if name not in made:
            words, options = RUNS[name]
            made[name] = tmp_path_factory.mktemp("run")
            nursery.run(made[name], *words, **options)
        return made[name]

    return give


@pytest.fixture
def run(runs: Callable[[str], Path], folder: Path) -> Path:
    """A copy of a run with several checkpoints."""
    return only_run(shutil.copytree(runs("killed in a window"), folder, dirs_exist_ok=True))


def verify(nursery: Nursery, folder: Path, *words: str) -> End:
    return nursery.run(folder, "outputs/mine", *words, command="verify")


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    """Change a checkpoint, and give it the digest of what it is then."""
    state = checkpoint.read(path, None)
    change(state)
    memory = io.BytesIO()
    torch.save(state, memory)
    path.write_bytes(hashlib.sha256(memory.getvalue()).digest() + memory.getvalue())


@pytest.mark.parametrize("name", RUNS)
def test_a_run_that_is_as_it_was_left_is_the_same(nursery: Nursery, runs: Any, name: str) -> None:
    folder = runs(name)
    before = snapshot(folder)
    end = verify(nursery, folder)
    assert (end.code, end.err) == (0, ""), end.out
    assert end.out.startswith("outputs/mine: steps ")
    assert end.out.endswith(" again, the same bits\n")
    assert snapshot(folder) == before


def test_a_run_that_another_log_was_gone_on_with_is_the_same(nursery: Nursery, run: Path, folder: Path) -> None:
    words, _ = RUNS["killed in a window"]
    again = (*words, "log.steps=2", "evaluate.epochs=2", "diagnostics=true")
    assert nursery.run(folder, *again, crash="pruned:6").code == -signal.SIGKILL
    end = verify(nursery, folder)
    assert (end.code, end.out.count("\n")) == (0, 1), end.out


def tensors(node: Any) -> list[torch.Tensor]:
    """The tensors in a nested state."""
    if isinstance(node, torch.Tensor):
        return [node]
    inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return [tensor for item in inside for tensor in tensors(item)]


CHANGES: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "a bit of a weight": (lambda s: tensors(s["learner"]["model"])[0].view(torch.int32)[0].bitwise_xor_(1), "model"),
    "momentum": (lambda s: tensors(s["learner"]["optimizer"])[0].mul_(2), "optimizer"),
    "the gradient": (lambda s: s["learner"]["window"]["inside"]["grad"].zero_(), "window.inside.grad"),
    "a count": (lambda s: s["learner"]["work"].update(backward_rows=999), "work.backward_rows"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_checkpoint_that_was_forged_is_noticed(nursery: Nursery, run: Path, folder: Path, name: str) -> None:
    change, told = CHANGES[name]
    newest = checkpoint.marks(run / "ckpt")[0]
    rewrite(run / "ckpt" / str(newest), change)
    before = snapshot(folder)
    end = verify(nursery, folder)
    assert end.code == 1, end.out
    assert told in end.out
    assert "not the same" in end.out.splitlines()[-1]
    assert snapshot(folder) == before
    document = json.loads(verify(nursery, folder, "--json").out)
    assert document["same"] is False
    assert document["differences"]


def damage(run: Path, name: str) -> str:
    """Damage a run; what has to be said of it."""
    newest, before = (run / "ckpt" / str(mark) for mark in checkpoint.marks(run / "ckpt"))
    metrics, config = run / "metrics.jsonl", run / "config.yaml"
    if name == "the newest checkpoint":
        newest.write_bytes(newest.read_bytes()[:-1])
        return f"ckpt/{newest.name} is damaged (checksum)"
    if name == "the one before":
        before.write_bytes(b"")
        return f"ckpt/{before.name} is damaged (cut short)"
    if name == "all checkpoints":
        newest.write_bytes(b"")
        before.write_bytes(b"")
        return f"ckpt/{before.name} is damaged (cut short)"
    if name == "the log":
        metrics.write_bytes(metrics.read_bytes().replace(b"1", b"2", 1))
        return "metrics.jsonl: was changed before step"
    if name == "the log's end":
        metrics.write_bytes(b"")
        return "metrics.jsonl: has lost lines from before step"
    if name == "the result":
        (run / "result.json").write_text("{")
        return "result.json: is damaged"
    config.write_text(config.read_text().replace("seed: 0", "seed: 1", 1))
    return "config.yaml: is not the config that the run was started with"


DAMAGES = [
    "the newest checkpoint",
    "the one before",
    "all checkpoints",
    "the log",
    "the log's end",
    "the result",
    "config",
]


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_told(nursery: Nursery, run: Path, folder: Path, name: str) -> None:
    told = damage(run, name)
    before = snapshot(folder)
    end = verify(nursery, folder)
    assert end.code == 1, end.out + end.err
    assert told in end.out
    assert end.err == ""
    assert snapshot(folder) == before


def leaves(node: Any, where: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the values of a document are."""
    if isinstance(node, dict | list) and node:
        items = node.items() if isinstance(node, dict) else enumerate(node)
        return [leaf for key, item in items for leaf in leaves(item, (*where, key))]
    return [where]


@pytest.mark.parametrize("name", ["finished, saved once", "a stream of tasks"])
def test_a_result_with_another_number_is_noticed(nursery: Nursery, runs: Any, folder: Path, name: str) -> None:
    run = only_run(shutil.copytree(runs(name), folder, dirs_exist_ok=True))
    whole = (run / "result.json").read_text()
    seen = set()
    for where in leaves(json.loads(whole)):
        key = where[0]
        if key in (*CLOCK, "status") or key in seen:  # one value of each key
            continue
        seen.add(key)
        result = json.loads(whole)
        node = result
        for step in where[:-1]:
            node = node[step]
        node[where[-1]] = {str: "x", int: 77, float: 0.77, type(None): 0.5}.get(type(node[where[-1]]), [1])
        (run / "result.json").write_text(json.dumps(result))
        end = verify(nursery, folder)
        assert end.code == 1, key
        told = f"result.json: {key} is "
        assert end.out.startswith((told, "result.json: is damaged")), (key, end.out)
    assert {"test", "validation", "best", "steps", "weights_digest", "ended_by"} <= seen
    assert name != "a stream of tasks" or {"matrix", "metrics"} <= seen


def test_what_is_no_run_is_bad_input(nursery: Nursery, run: Path, folder: Path) -> None:
    end = nursery.run(folder, "outputs/other", command="verify")
    assert (end.code, end.out, end.err.count("\n")) == (2, "", 1)
    shutil.rmtree(run / "ckpt")
    end = verify(nursery, folder)
    assert (end.code, end.out) == (2, "")
    assert end.err.startswith("outputs/mine: has no checkpoint yet. Train it first")
