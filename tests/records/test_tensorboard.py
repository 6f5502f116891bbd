"""What TensorBoard reads is what the log says."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
from written_runs import reseal

HERE = importlib.util.find_spec("tensorboard") is not None
needs_tensorboard = pytest.mark.skipif(not HERE, reason="tensorboard is not installed")


@needs_tensorboard
def test_tensorboard_reads_every_number_of_the_log(gradinc: Any, written: Any, empty: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    path = written("a")
    with open(path / "metrics.jsonl", "a") as file:
        file.write(json.dumps({"step": 164, "row": [0.25, None, 0.5], "train": {"loss": None}, "lr": "x"}) + "\n")
    reseal(path)
    outcome = gradinc("export", "a", "--tensorboard", "events")
    assert (outcome.code, outcome.err) == (0, "")
    events = EventAccumulator(str(empty / "events" / "a"))
    events.Reload()
    read = {
        tag: [(event.step, event.value, event.wall_time) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }
    log = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    for part, name in (("train", "loss"), ("validation", "accuracy"), ("test", "accuracy"), ("notes", "gradient_norm")):
        wanted = [(line["step"], line[part][name]) for line in log if line.get(part, {}).get(name) is not None]
        assert [(step, pytest.approx(value)) for step, value, _ in read[f"{part}/{name}"]] == wanted
    assert [step for step, _, _ in read["lr"]] == [41, 82, 123, 164]
    assert [read[f"row/task {task}"][0][1] for task in (1, 3)] == [0.25, 0.5]
    assert "row/task 2" not in read
    assert [time for _, _, time in read["train/loss"]] == [1.8e9 + epoch for epoch in (1, 2, 3, 4)]


@needs_tensorboard
def test_exporting_twice_into_one_place_is_refused(gradinc: Any, written: Any, empty: Path) -> None:
    written("a")
    assert gradinc("export", "a", "--tensorboard", "events").code == 0
    before = sorted(empty.rglob("*"))
    outcome = gradinc("export", "a", "--tensorboard", "events")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "events/a: already exists. Remove it, or give another directory.\n"
    assert sorted(empty.rglob("*")) == before


def test_without_tensorboard_it_says_how_to_get_it(
    gradinc: Any, written: Any, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written("a")
    monkeypatch.setattr("gradinc.runs.tracking.find_spec", lambda name: None)
    outcome = gradinc("export", "a", "--tensorboard", "events")
    line = "--tensorboard: needs the package tensorboard. pip install 'gradinc[tensorboard]'.\n"
    assert (outcome.code, outcome.err) == (2, line)
    assert not (empty / "events").exists()
