"""One run on two processes that torchrun starts: the same updates as one process with windows twice as long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from lives import Nursery

import gradinc

RUN = ("model=mlp", "model.width=16", "dtype=float64", "optimizer.momentum=0", "data.batch_size=8", "progress=plain")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(gradinc.__file__).parent.parent)}


TRACKER = """
from gradinc.records.tracker import Tracker

class Printed(Tracker):
    def open(self, run):
        print("tracker opened", flush=True)
        return -1

    def log(self, rows):
        print(*(f"tracker got step {row.step}" for row in rows), sep="\\n", flush=True)

    def close(self, status):
        print(f"tracker closed, {status}", flush=True)
"""


def command(words: Sequence[str]) -> list[str]:
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return [sys.executable, *torchrun, "-m", "gradinc", "train", *RUN, *words]


def on_two(folder: Path, *words: str, code: int = 0) -> str:
    """What a run on two processes prints."""
    done = subprocess.run(command(words), cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)
    assert (done.returncode == 0) == (code == 0), done.stderr
    return done.stdout + done.stderr


def weights(path: Path) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in gradinc.load(path).model.parameters()])


SETTINGS = {
    "sgd with dropout": ("budget.epochs=1", "model.dropout=0.2"),
    "cosine over epochs": ("budget.epochs=2", "schedule=cosine"),
    "agem": (
        "budget.epochs=1",
        "stream=permuted",
        "stream.tasks=3",
        "strategy=agem",
        "strategy.methods.agem.memory=60",
        "strategy.methods.agem.sample=20",
    ),
    "lwf, sam and ewc": (
        "budget.rows=2000",
        "stream=permuted",
        "stream.tasks=3",
        "strategy=[lwf,sam,ewc]",
        "strategy.methods.ewc.rows=300",
        "schedule=cosine",
    ),
}


@pytest.mark.parametrize("setting", SETTINGS)
def test_two_processes_with_windows_of_2_are_one_with_windows_of_4(
    nursery: Nursery, tmp_path: Path, setting: str
) -> None:
    assert nursery.run(tmp_path, *RUN, *SETTINGS[setting], "strategy.window.size=4", "name=one").code == 0
    said = on_two(tmp_path, *SETTINGS[setting], "strategy.window.size=2", "name=two")
    assert said.count("next: gradinc test") == 1, "one of them speaks"
    one, two = tmp_path / "outputs/one", tmp_path / "outputs/two"
    assert float((weights(one) - weights(two)).norm() / weights(one).norm()) < 1e-12
    results = [json.loads((path / "result.json").read_text()) for path in (one, two)]
    for count in ("samples", "steps", "forward_rows", "backward_rows", "passes"):
        assert results[0][count] == results[1][count]
    assert results[0].get("matrix") == results[1].get("matrix")


def test_a_run_that_loses_a_process_says_so_and_goes_on_with_another_number_of_them(
    nursery: Nursery, tmp_path: Path
) -> None:
    words = ("strategy.window.size=2", "name=lost", "budget.epochs=30", "checkpoint.seconds=0.2")
    process = subprocess.Popen(
        command(words), cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until = time.monotonic() + 60
    while not list((tmp_path / "outputs").glob("lost/ckpt/[0-9]*")) and time.monotonic() < until:
        time.sleep(0.1)
    own = json.loads((tmp_path / "outputs/lost/owner.json").read_text())["pid"]
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    (other,) = [int(child) for child in children if int(child) != own]
    os.kill(other, signal.SIGKILL)
    said, _ = process.communicate(timeout=90)
    assert process.returncode != 0
    assert json.loads((tmp_path / "outputs/lost/result.json").read_text())["status"] in ("failed", "interrupted"), said
    shorter = ("strategy.window.size=2", "name=lost", "budget.epochs=30")
    end = nursery.run(tmp_path, *RUN, *shorter, "log.steps=1000")
    assert end.code == 0
    assert "resuming from step" in end.out + end.err
    assert "processes 2, now 1" in end.out + end.err


def test_a_window_that_one_process_began_is_ended_by_two(nursery: Nursery, tmp_path: Path) -> None:
    words = ("strategy.window.size=4", "budget.steps=2", "checkpoint.seconds=0")
    assert nursery.run(tmp_path, *RUN, *words, "name=one").code == 0
    assert nursery.run(tmp_path, *RUN, *words, "name=two", crash="pruned:4").code == -signal.SIGKILL
    assert (tmp_path / "outputs/two/ckpt/1+2").exists()
    (tmp_path / "mine/trackers").mkdir(parents=True)
    (tmp_path / "mine/trackers/printed.py").write_text(TRACKER)
    assert "resuming from step 1" in on_two(tmp_path, *words, "name=two", "--with", "mine", "track=printed")
    one, two = tmp_path / "outputs/one", tmp_path / "outputs/two"
    assert float((weights(one) - weights(two)).norm() / weights(one).norm()) < 1e-12
    results = [json.loads((path / "result.json").read_text()) for path in (one, two)]
    assert [[result[count] for count in ("samples", "forward_rows", "rows")] for result in results] == [
        [64, 64, 64]
    ] * 2
    log, until = two / "printed.log", time.monotonic() + 60
    while "everything is sent" not in log.read_text() and time.monotonic() < until:
        time.sleep(0.1)
    lines = [line for line in log.read_text().splitlines() if line.startswith("tracker")]
    assert lines == ["tracker opened", "tracker got step 2", "tracker closed, finished"], "one process has a tracker"


def test_windows_of_two_processes_divide_by_the_tokens_of_both(nursery: Nursery, tmp_path: Path) -> None:
    """Rows have 1 to 12 tokens that are predicted, so that no two micro-batches have the same number."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for number in range(60):
        (texts / f"{number}.txt").write_text("the quick brown fox jumps"[number % 7 : number % 7 + 2 + number * 5 % 19])
    words = (
        "data=text",
        f"data.root={texts}",
        "data.length=12",
        "data.validation=0",
        "optimizer=sgd",
        "model=decoder",
        "model.depth=1",
        "budget.epochs=2",
    )
    assert nursery.run(tmp_path, *RUN, *words, "strategy.window.size=2", "name=one").code == 0
    on_two(tmp_path, *words, "strategy.window.size=1", "name=two")
    one, two = tmp_path / "outputs/one", tmp_path / "outputs/two"
    assert float((weights(one) - weights(two)).norm() / weights(one).norm()) < 1e-12
    results = [json.loads((path / "result.json").read_text()) for path in (one, two)]
    assert results[0]["tokens"] == results[1]["tokens"] > results[0]["samples"]
    assert results[0]["steps"] == results[1]["steps"] > 4


def test_what_cannot_be_shared_out_is_refused_once(tmp_path: Path) -> None:
    said = on_two(tmp_path, "strategy=median", code=2)
    assert said.count("strategy.window.rule=median: needs each micro-batch's gradient") == 1
    assert not (tmp_path / "outputs").exists()
