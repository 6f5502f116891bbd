"""Progress of a run whose output is not a terminal, and places that are gone."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from rich.console import Console

from gradinc.studies.heatmap import heat_map
from gradinc.studies.terminal import TerminalDisplay


def test_a_run_in_a_file_says_how_far_it_is_before_anything_is_logged(empty: Path, environment: dict[str, str]) -> None:
    words = ["train", "model=mlp", "model.width=8", "budget.seconds=600", "budget.epochs=null", "log.steps=100000000"]
    words += ["evaluate.epochs=100000000", "progress=plain"]
    log = empty / "log"
    with open(log, "wb") as file:
        run = subprocess.Popen([sys.executable, "-m", "gradinc", *words], stdout=file, cwd=empty, env=environment)
    try:
        lines = ""
        deadline = time.monotonic() + 90
        while "speed" not in lines and time.monotonic() < deadline:
            time.sleep(0.2)
            lines = log.read_text()
        assert run.poll() is None
    finally:
        run.kill()
        run.wait()
    assert re.search(r"^ +\d+ %  epoch \d+  speed [0-9,]+/s  [0-9.]+ min", lines, re.MULTILINE), lines


def test_the_end_is_one_line_and_names_the_epoch_that_training_is_in(gradinc: Any) -> None:
    for steps, epoch in ((30, 1), (41, 1), (60, 2)):  # of 41 an epoch
        out = gradinc("train", "model=linear", f"budget.steps={steps}", "progress=plain").out
        last = [line for line in out.splitlines() if line.startswith("100 %")]
        assert len(last) == 1, out
        assert last[0].startswith(f"100 %  epoch {epoch}  ")


def test_a_line_of_many_tasks_gives_their_mean_and_range(capsys: Any) -> None:
    display = TerminalDisplay(Console(width=80), "plain")
    display.measured(3, [0.5, None, 0.75, None])
    display.measured(300, [0.5] * 100 + [0.25] + [None] * 99 + [0.5] * 99 + [1.0])
    few, many = capsys.readouterr().out.splitlines()
    assert few.strip() == "after task 3: 50.0 · 75.0 %"
    assert many.strip() == "after task 300: mean 50.1 %, from 25.0 (task 101) to 100.0 (task 300)"


def test_a_matrix_of_many_tasks_fits_the_screen() -> None:
    matrix = [[0.5] * 300 for _ in range(301)]
    lines = heat_map(matrix, 80, 24).plain.splitlines()
    assert (len(lines), lines[0].split()[0], lines[-1].split()[1]) == (24, "untrained", "300")
    assert len(heat_map(matrix[:6], 80, 24).plain.splitlines()) == 6


def test_a_working_directory_that_was_removed_is_one_line(tmp_path: Path, monkeypatch: Any, gradinc: Any) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    shutil.rmtree(gone)
    for words in (("train", "model=linear"), ("runs",), ("report", "outputs"), ("list", "models")):
        outcome = gradinc(*words)
        assert (outcome.code, outcome.err) == (
            2,
            "working directory: was removed. Change to one that exists.\n",
        )
    assert gradinc("--version").code == 0


def test_an_output_link_to_nowhere_is_one_line_and_nothing_is_made(gradinc: Any, empty: Path) -> None:
    os.symlink(empty / "nowhere", empty / "link")
    for words in ((), ("name=mine",), ("-m", "seed=0,1"), ("-m", "seed=0,1", "name=mine")):
        outcome = gradinc("train", "model=linear", "budget.steps=2", "output=link", *words)
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
        assert outcome.err.startswith("link: is a link to ")
        assert "Make that directory" in outcome.err
    assert [path.name for path in empty.iterdir()] == ["link"]
    (empty / "nowhere").mkdir()
    assert gradinc("train", "model=linear", "budget.steps=2", "output=link").code == 0


def test_a_pipe_gets_each_line_while_the_run_trains(empty: Path, environment: dict[str, str]) -> None:
    words = ["train", "model=mlp", "model.width=8", "budget.seconds=600", "budget.epochs=null", "threads=1"]
    command = [sys.executable, "-m", "gradinc", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=empty, env=environment, text=True) as run:
        assert run.stdout is not None
        lines = [run.stdout.readline() for _ in range(3)]
        assert run.poll() is None
        run.kill()
    assert "10 classes" in lines[0]
    assert "1,294 training" in lines[0]
    assert "validation" in lines[2]


def test_validation_of_a_stream_names_its_task(gradinc: Any) -> None:
    words = ["model=mlp", "model.width=8", "stream=split", "stream.tasks=2", "budget.epochs=1", "threads=1"]
    text = gradinc("train", *words, "progress=plain").out
    assert re.search(r"validation [\d.]+ % \(task 1\)", text)
    assert re.search(r"validation [\d.]+ % \(task 2\)", text)
    assert re.search(r"^validation, task 2 ", text, re.MULTILINE)
    assert len(re.findall(r"^100 %", text, re.MULTILINE)) == 1


def test_the_time_left_counts_from_the_first_update_which_takes_longer_than_others(
    capsys: Any, monkeypatch: Any
) -> None:
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    display = TerminalDisplay(Console(width=80), "plain")
    display.begin("training", 0.5)
    for seconds, share in ((20.0, 0.5001), (1.0, 0.5101), (1.0, 0.5201)):
        clock[0] += seconds
        display.numbers(share)
        display.evaluated("epoch 5")
    first, second, third = capsys.readouterr().out.splitlines()
    assert "left" not in first, "20 seconds for a ten thousandth would be a day"
    assert second.endswith("49 s left")
    assert third.endswith("48 s left")
