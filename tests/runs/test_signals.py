"""P3: a signal that asks a run to stop is answered within one micro-batch, with all that was done saved."""

from __future__ import annotations

import random
import shlex
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from configs import CONFIGS, RICH
from lives import Kill, Life, Nursery, broken_invariants, differences, kill_at_progress, only_run, outcome

from gradinc.records.schemas import read_json
from gradinc.runs import checkpoint

COMMAND = (*CONFIGS[RICH], "log.steps=1", "progress=plain")  # checkpoints only every 30 seconds
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGUSR1: 138}

SLOW = ("model=mlp", "model.width=1536", "model.depth=6", "data.batch_size=1000", "budget.steps=100", "progress=plain")
"""A micro-batch of this takes a second or more."""


@pytest.fixture(scope="module")
def wanted(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    assert nursery.run(folder, *COMMAND).code == 0
    return outcome(only_run(folder))


def catches(life: Life, number: int) -> bool:
    """Whether the process has a handler for a signal, as the kernel knows it."""
    for line in Path(f"/proc/{life.pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    raise AssertionError("no such line")


def wait_until(condition: Any, seconds: float = 60) -> float:
    """Wait until a condition holds; how long that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise TimeoutError
        time.sleep(0.001)
    return time.monotonic() - began


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_it_is_committed_and_says_how_to_go_on(
    nursery: Nursery, folder: Path, wanted: dict[str, Any], number: signal.Signals
) -> None:
    choices, answered = random.Random(number), 0
    for lines in (1, 2, 3):
        life = nursery.start(folder, *COMMAND)
        kill = Kill(lines, choices.uniform(0, 0.01), number, group=False)
        if not kill_at_progress(life, folder, kill):
            continue
        end = life.end()
        if end.code == 0:  # the signal came after the run was over
            continue
        answered += 1
        assert (end.code, end.err) == (CODES[number], "")
        run = only_run(folder)
        result = read_json(run / "result.json") or {}
        if result["status"] == "finished":  # the signal came in the last evaluation: nothing is left to do
            continue
        assert (result["status"], result["signal"]) == ("interrupted", number.name)
        newest = checkpoint.marks(run / "ckpt")[0]
        assert newest.updates == result["steps"]
        state = checkpoint.read(run / "ckpt" / str(newest), None)
        assert state["learner"]["work"]["samples"] == result["samples"]
        again = end.out.strip().splitlines()[-1].split("Resume with: gradinc train ")[1]
        assert tuple(shlex.split(again)) == COMMAND
        assert broken_invariants(folder, wanted["metrics"]) == []
    assert answered
    assert nursery.run(folder, *COMMAND).code == 0
    assert differences(only_run(folder), wanted) == []


def test_a_second_signal_ends_it_at_once(nursery: Nursery, folder: Path) -> None:
    life = nursery.start(folder, *SLOW)
    wait_until(lambda: any(folder.glob("outputs/*/timing.jsonl")))
    life.kill(signal.SIGTERM)
    wait_until(lambda: not catches(life, signal.SIGTERM))
    second = time.monotonic()
    life.kill(signal.SIGTERM)
    assert life.end().code == -signal.SIGTERM
    assert time.monotonic() - second < 0.5


@pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
def test_before_training_there_is_nothing_to_wait_for(nursery: Nursery, folder: Path, number: signal.Signals) -> None:
    life = nursery.start(folder, *COMMAND, plant="read_for_a_minute")
    wait_until(lambda: (folder / "reading").exists())
    life.kill(number)
    end = life.end(seconds=5)
    assert (end.code, end.err) == (CODES[number], "")
    assert "Resume with: gradinc train " in end.out
    assert [path.name for path in folder.iterdir()] == ["reading"]


def test_an_evaluation_is_not_waited_for(nursery: Nursery, folder: Path) -> None:
    begun = folder / "evaluations"
    for count, evaluation in ((1, "first"), (3, "last"), (5, "test")):
        # A life that goes on measures once more what it was stopped in, and is stopped in what it measures next.
        life = nursery.start(folder, *COMMAND, plant="evaluate_slowly")
        wait_until(lambda count=count: begun.exists() and begun.stat().st_size == count)
        life.kill(signal.SIGTERM)
        sent = time.monotonic()
        assert life.end().code == 143, evaluation
        assert time.monotonic() - sent < 0.7
    assert nursery.run(folder, *COMMAND, plant="evaluate_slowly").code == 0
    assert begun.stat().st_size == 6
    whole = folder / "whole"
    assert nursery.run(whole, *COMMAND, plant="evaluate_slowly").code == 0
    assert differences(only_run(folder), outcome(only_run(whole))) == []
