"""A search goes on where it was killed, and nothing that the result is measured on has a say in it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gradinc.config.catalog import PACKAGE
from gradinc.errors import UserError
from gradinc.tune.space import Space, judged, read_space

RATES = """
space:
  optimizer.lr: {low: 1e-3, high: 1.0, log: true}
  strategy.window.size: {low: 1, high: 4}
base: [model=linear, data.batch_size=200, budget.epochs=2]
trials: 6
"""


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    words = [sys.executable, "-P", "-m", "gradinc", "tune", *arguments]
    return subprocess.Popen(words, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE)


def test_a_search_that_is_killed_goes_on(tmp_path: Path) -> None:
    (tmp_path / "rates.yaml").write_text(RATES)
    life = start(tmp_path, "rates.yaml", "--n-jobs", "2")
    assert life.stdout is not None
    while not life.stdout.readline().startswith("["):  # the first trial has ended
        assert life.poll() is None
    os.kill(life.pid, signal.SIGKILL)
    life.communicate()
    time.sleep(0.5)
    again = start(tmp_path, "rates.yaml", "--n-jobs", "2")
    printed, _ = again.communicate(timeout=200)
    assert again.returncode == 0, printed
    folder = tmp_path / "outputs" / "rates"
    record = json.loads((folder / "tune.json").read_text())
    ended = [trial for trial in record["trials"] if trial["state"] in ("complete", "pruned")]
    assert len(ended) == 6
    best = max((trial for trial in ended if trial["state"] == "complete"), key=lambda trial: trial["score"])
    assert record["best"]["values"] == best["values"]
    assert record["judged_by"] == {"mode": "validation", "what": "the validation rows"}
    results = [json.loads(path.read_text()) for path in folder.glob("*/result.json")]
    scores = [result["validation"]["accuracy"] for result in results if result["validation"]]
    assert any(score == best["score"] for score in scores)
    assert "next: gradinc train model=linear " in printed


def test_test_rows_have_no_say() -> None:
    space = Space(space={"seed": [1]})
    log: list[dict[str, Any]] = [
        {"validation": {"accuracy": 0.5}},
        {"validation": {"accuracy": 0.7}},
        {"test": {"accuracy": 0.1}},
    ]
    found = judged(space, log, sequence=False)
    assert found is not None
    assert (found.looks, found.score) == (2, 0.7)
    other_test = [*log[:2], {"test": {"accuracy": 0.9}}]
    assert judged(space, other_test, sequence=False) == found
    other_validation = [log[0], {"validation": {"accuracy": 0.6}}, log[2]]
    assert judged(space, other_validation, sequence=False) != found


def test_the_later_tasks_of_a_stream_have_no_say() -> None:
    space = Space(space={"optimizer.lr": [1]}, mode="first-tasks", tasks=2)
    log: list[dict[str, Any]] = [
        {"row": [0.5, 0.2, 0.3]},  # before any training
        {"test": {}, "row": [1.0, 0.2, 0.3]},
        {"test": {}, "row": [0.8, 0.6, 0.3]},
        {"test": {}, "row": [0.1, 0.1, 0.9]},
    ]
    found = judged(space, log, sequence=True)
    assert found is not None
    assert (found.looks, found.score) == (2, pytest.approx(0.7))
    assert judged(space, log[:3], sequence=True) == found
    later = [{**line, "row": [*line["row"][:2], 0.0]} for line in log[:3]]
    assert judged(space, later, sequence=True) == found
    first = [*log[:2], {"test": {}, "row": [0.9, 0.6, 0.3]}]
    assert judged(space, first, sequence=True) != found


@pytest.mark.parametrize(
    ("text", "more", "line"),
    [
        (RATES, ["stream=split"], "mode=validation: a stream's later tasks would decide"),
        (RATES, ["data.validation=0"], "mode=validation: there are no validation rows"),
        (RATES + "mode: first-tasks\n", [], "mode=first-tasks: stream=iid has one task"),
        (RATES + "mode: first-tasks\n", ["stream=split", "stream.data=joint"], "stream.data=joint trains on all"),
        (RATES + "mode: other-data\n", [], "mode=other-data: needs the other data"),
        ("space: {data.split_seed: [1, 2]}", [], r"space\.data\.split_seed: decides what the result is measured on"),
        ("space: {optimizer.lr: {low: 1.0, high: -1.0}}", [], r"^optimizer\.lr=-1\.0: need a number > 0"),
        ("space: {optimizer.lr: {low: 1.0, high: 0.5}}", [], r"space\.optimizer\.lr: low must be below high"),
        ("space: {optm.lr: [1.0]}", [], r"^optm\.lr: no such key"),
        ("spice: {}", [], "rates.yaml: space: Field required"),
        ("space: {optimizer.lr: {low: 1, hihg: 2}}", [], r"optimizer\.lr\.Range\.high: Field required"),
    ],
)
def test_what_would_leak_or_is_wrong_is_refused(tmp_path: Path, text: str, more: list[str], line: str) -> None:
    path = tmp_path / "rates.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=line):
        read_space(path, more, [])
    assert list(tmp_path.iterdir()) == [path]
