"""Measurements between two updates, and several updates from the same rows of a stream."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from test_saving import StopAfter, opened, trained

from gradinc.base.errors import Interrupted, UserError
from gradinc.config.compose import load_config
from gradinc.core.learner import Learner
from gradinc.data.batch import Batch

SPLIT = ("stream=split", "stream.tasks=2", "data.batch_size=50", "budget.epochs=1")


def lines(path: Path, key: str) -> list[dict[str, Any]]:
    text = (path / "mine" / "metrics.jsonl").read_text()
    return [line for line in map(json.loads, text.splitlines()) if key in line]


def stopped_often(output: Path, looks: int, *words: str) -> dict[str, Any]:
    """Return the result of a run that is stopped again and again."""
    while True:
        run = opened(output, *words, stop=StopAfter(looks))
        try:
            run.train()
        except Interrupted:
            run.close()
        else:
            run.close()
            return {**run.result(), "seconds": 0}


# ---- evaluate.steps ----


def test_tasks_so_far_are_measured_every_few_updates_and_the_training_is_the_same(tmp_path: Path) -> None:
    watched, plain = (
        trained(tmp_path / name, *SPLIT, *w).result() for name, w in (("w", ("evaluate.steps=3",)), ("p", ()))
    )
    assert watched["weights_digest"] == plain["weights_digest"]
    assert watched["matrix"] == plain["matrix"]
    found = lines(tmp_path / "w", "anytime")
    assert [line["step"] for line in found] == list(range(3, watched["steps"] + 1, 3))
    scores = [line["anytime"]["accuracy"] for line in found]
    assert watched["metrics"]["aaa"] == pytest.approx(sum(scores) / len(scores))
    best = max((line for line in found if line["task"] == 1), key=lambda line: line["anytime"]["accuracy"])
    assert watched["oracle"] == {"score": best["anytime"]["accuracy"], "step": best["step"]}
    assert "aaa" not in plain["metrics"]
    assert "oracle" not in plain


def test_the_measurement_at_the_end_of_a_task_is_that_of_the_matrix(tmp_path: Path) -> None:
    result = trained(tmp_path, *SPLIT, "evaluate.steps=1").result()
    last = lines(tmp_path, "anytime")[-1]["anytime"]["accuracy"]
    assert last == pytest.approx(sum(result["matrix"][-1]) / 2)
    first = [line for line in lines(tmp_path, "anytime") if line["task"] == 0][-1]
    assert first["anytime"]["accuracy"] == pytest.approx(result["matrix"][1][0]), "only the task so far"


def test_ordinary_training_has_an_oracle_that_decides_nothing(tmp_path: Path) -> None:
    result = trained(tmp_path, "evaluate.steps=2", "optimizer.lr=0.3").result()
    scores = [line["anytime"]["accuracy"] for line in lines(tmp_path, "anytime")]
    assert result["oracle"]["score"] == max(scores) >= result["test"]["accuracy"]
    assert result["best"]["score"] == max(line["validation"]["accuracy"] for line in lines(tmp_path, "validation"))


@pytest.mark.parametrize(
    "words", [("evaluate.steps=2",), ("stream.updates_per_batch=3", "strategy=er", "evaluate.steps=5")]
)
def test_a_run_that_is_stopped_anywhere_has_the_same_measurements(tmp_path: Path, words: tuple[str, ...]) -> None:
    whole = {**trained(tmp_path / "whole", *SPLIT, *words).result(), "seconds": 0}
    assert stopped_often(tmp_path / "stopped", 5, *SPLIT, *words) == whole
    logs = [(tmp_path / name / "mine" / "metrics.jsonl").read_bytes() for name in ("whole", "stopped")]
    assert logs[0] == logs[1]


# ---- stream.updates_per_batch ----


def taken(output: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[dict[str, Any], list[tuple[int, Batch]]]:
    seen: list[tuple[int, Batch]] = []
    take = Learner.take

    def watching(self: Learner, batch: Batch) -> None:
        seen.append((self.updates, batch))
        take(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(Learner, "take", watching)
        return trained(output, *words).result(), seen


@pytest.mark.parametrize(("size", "times"), [(1, 3), (3, 2), (4, 4)])
def test_each_window_makes_several_updates_in_a_row(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, times: int
) -> None:
    words = (*SPLIT, "data.batch_size=45", f"strategy.window.size={size}")
    once, before = taken(tmp_path / "once", monkeypatch, *words)
    result, seen = taken(tmp_path / "often", monkeypatch, *words, f"stream.updates_per_batch={times}")
    assert (result["samples"], result["steps"]) == (once["samples"], times * once["steps"])
    assert result["rows"] == times * once["rows"], "the rows through the model count each time"
    windows: dict[int, list[Batch]] = {}
    for update, batch in seen:
        windows.setdefault(update, []).append(batch)
    for update, batches in windows.items():
        first = windows[update - update % times]
        assert [batch.repeat for batch in batches] == [update % times] * len(first)
        assert all(torch.equal(a.x, b.x) for a, b in zip(batches, first, strict=True))
    firsts = [batch for _, batch in seen if batch.repeat == 0]
    assert [batch.y.tolist() for batch in firsts] == [batch.y.tolist() for _, batch in before]


@pytest.mark.parametrize("strategy", ["er", "gss", "derpp"])
def test_a_memory_is_offered_each_row_once_and_draws_anew_for_each_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    words = (*SPLIT, f"strategy={strategy}", f"strategy.methods.{strategy}.memory=30")
    run = trained(tmp_path / "often", *words, "stream.updates_per_batch=4")
    assert run.learner.named[strategy].memory.seen == run.result()["samples"]  # type: ignore[attr-defined]
    drawn: list[tuple[int, list[int]]] = []
    replaying = Batch.replaying

    def watching(self: Batch, x: torch.Tensor, y: torch.Tensor, tasks: torch.Tensor, *rest: Any, **more: Any) -> Batch:
        drawn.append((self.repeat, x.flatten(1).sum(1).tolist()))
        return replaying(self, x, y, tasks, *rest, **more)

    monkeypatch.setattr(Batch, "replaying", watching)
    trained(tmp_path / "again", *words, f"strategy.methods.{strategy}.replay=5", "stream.updates_per_batch=2")
    pairs = [(a[1], b[1]) for a, b in pairwise(drawn) if (a[0], b[0]) == (0, 1)]
    assert pairs
    assert all(first != second for first, second in pairs)


def test_online_accuracy_and_the_schedule_count_the_rows_once_and_the_updates_all(tmp_path: Path) -> None:
    run = trained(tmp_path, *SPLIT, "stream.updates_per_batch=3", "schedule=linear", "log.steps=1", "data.validation=0")
    rates = [line["lr"] for line in lines(tmp_path, "train")]
    steps = run.result()["steps"]
    per_task = steps // 2
    base = load_config([]).optimizer.options["lr"]
    wanted = [base * (1 - update / per_task) for update in range(1, per_task + 1)]
    assert rates[:per_task] == pytest.approx(wanted), "the rate of the next update"
    assert sum("online" in line for line in lines(tmp_path, "train")) == steps / 3


@pytest.mark.parametrize("key", ["due=items", "last=carry"])
def test_windows_of_other_sizes_are_refused(key: str) -> None:
    with pytest.raises(UserError, match=r"stream\.updates_per_batch=2: goes with strategy\.window\."):
        load_config(["stream=split", "stream.updates_per_batch=2", f"strategy.window.{key}"])
