"""Online accuracy: every row of the stream is predicted once, before it is trained on, whatever stops the run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_saving import StopAfter, opened, trained

from gradinc.base.errors import Interrupted
from gradinc.core.learner import Learner
from gradinc.data.batch import Batch
from gradinc.records.recorded import RecordedRun
from gradinc.runs.run import Run
from gradinc.studies.tables.quantities import read_quantity

STREAM = ("stream=permuted", "stream.tasks=3", "data.batch_size=100", "budget.epochs=1", "evaluate.tasks=none")


def watched(output: Path, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[Run, list[tuple[int, int, int]]]:
    """Train a run, and predict each batch with a separate pass of the same weights before it is trained on.

    Returns:
        The run, and for each batch its task, the rows that were right and the rows of the stream.
    """
    seen: list[tuple[int, int, int]] = []
    take = Learner.take

    def predicting(self: Learner, batch: Batch) -> None:
        with torch.no_grad():
            right = int((self.model(batch.x).argmax(1) == batch.y).sum())
        seen.append((batch.task, right, len(batch.y)))
        take(self, batch)

    monkeypatch.setattr(Learner, "take", predicting)
    return trained(output, *words), seen


@pytest.mark.parametrize("strategy", ["finetune", "er", "accumulate", "derpp"])
def test_it_is_the_accuracy_of_the_weights_before_each_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, strategy: str
) -> None:
    """Replayed rows do not count, and a window of several batches counts each of them before its update."""
    run, seen = watched(tmp_path, monkeypatch, *STREAM, f"strategy={strategy}")
    by_hand = [
        sum(right for task, right, _ in seen if task == index) / sum(rows for task, _, rows in seen if task == index)
        for index in range(3)
    ]
    result = run.result()
    assert result["online"] == by_hand
    assert result["metrics"]["online"] == pytest.approx(sum(by_hand) / 3)
    after = trained(tmp_path / "after", *STREAM, f"strategy={strategy}", "evaluate.tasks=current").result()
    assert after["online"] == by_hand
    assert after["metrics"]["la"] > after["metrics"]["online"], "the accuracy after the training is another number"


@pytest.mark.parametrize("words", [("strategy=er",), ("strategy=accumulate",), ("log.steps=3",)])
def test_a_run_that_is_stopped_anywhere_has_the_same_online_accuracy(tmp_path: Path, words: tuple[str, ...]) -> None:
    whole = trained(tmp_path / "whole", *STREAM, *words)
    lives = 0
    while True:
        run = opened(tmp_path / "stopped", *STREAM, *words, stop=StopAfter(4))
        lives += 1
        try:
            run.train()
        except Interrupted:
            run.close()
        else:
            break
    run.close()
    assert lives > 3
    assert run.result()["online"] == whole.result()["online"]
    logs = [(tmp_path / name / "mine" / "metrics.jsonl").read_bytes() for name in ("whole", "stopped")]
    assert logs[0] == logs[1]


def test_the_log_has_it_at_every_line_and_for_every_task(tmp_path: Path) -> None:
    run = trained(tmp_path, *STREAM, "log.steps=2", "data.validation=0")
    lines = [json.loads(line) for line in (tmp_path / "mine" / "metrics.jsonl").read_text().splitlines()]
    training = [line for line in lines if "train" in line]
    assert all("online" in line for line in training)
    assert [line["task_online"] for line in lines if "task_online" in line] == run.result()["online"]
    before, total = 0, 0.0
    for line in training:
        total += line["online"]["accuracy"] * (line["samples"] - before)
        before = line["samples"]
    assert total / before == pytest.approx(run.result()["metrics"]["online"])


def test_a_class_incremental_row_competes_with_all_outputs_and_a_task_incremental_one_with_its_own(
    tmp_path: Path,
) -> None:
    """Before any training on a task of two classes a known task leaves two outputs, and an unknown one ten."""
    words = ("stream=split", "stream.tasks=5", "budget.steps=1", "optimizer.lr=0.001", "evaluate.tasks=none")
    found = {s: trained(tmp_path / s, *words, f"scenario={s}").result()["metrics"]["online"] for s in ("class", "task")}
    assert found["task"] > 0.35
    assert found["class"] < 0.3


def test_ordinary_training_has_none(tmp_path: Path) -> None:
    result = trained(tmp_path).result()
    assert "online" not in result
    assert "metrics" not in result


def test_a_table_and_a_report_show_it(tmp_path: Path, gradinc: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("model=linear", "stream=permuted", "stream.tasks=4", "budget.epochs=1", "evaluate.tasks=none")
    assert gradinc("train", *words, "seed=0,1", "optimizer.lr=0.05,0.005", "-m", "name=two").code == 0
    assert gradinc("report", "outputs/two").code == 0
    page = next(tmp_path.glob("reports/*.md")).read_text()
    assert "## Online learning" in page
    assert "first tenth" in page
    html = next(tmp_path.glob("reports/*.html")).read_text()
    assert "online accuracy of each task, before its rows are trained on" in html
    run = RecordedRun.open(next((tmp_path / "outputs" / "two").glob("*-s0-*")))
    each = run.result["online"]
    for given, wanted in (("metrics.online", sum(each) / 4), ({"online": {"first": 0.5}}, (each[2] + each[3]) / 2)):
        assert read_quantity(given, "here").read(run) == pytest.approx(wanted)


@pytest.mark.parametrize("model", ["cnn", "mlp"])
def test_measures_of_plasticity_are_in_every_line_and_leave_the_training_alone(tmp_path: Path, model: str) -> None:
    words = (f"model={model}", "model.width=4", "budget.epochs=1", "log.steps=2", *STREAM)
    results = [trained(tmp_path / name, *words, f"diagnostics={name}").result() for name in ("false", "true")]
    assert {**results[0], "seconds": 0} == {**results[1], "seconds": 0}
    lines = [json.loads(line) for line in (tmp_path / "true" / "mine" / "metrics.jsonl").read_text().splitlines()]
    notes = [line["notes"] for line in lines if "train" in line]
    assert len(notes) > 3
    assert all({"dormant_units", "effective_rank", "mean_weight"} <= set(each) for each in notes)
    assert all(0 <= each["dormant_units"] <= 1 <= each["effective_rank"] for each in notes)
