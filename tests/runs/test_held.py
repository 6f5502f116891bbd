"""P8: whether a run is in use is what its lock says, not the number of a process that has been given again."""

from __future__ import annotations

import json
import os
import platform
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
from lives import Nursery, only_run
from test_two_processes import LONG, wait_for, wait_for_run

from gradinc.records.lock import is_held, living_owner
from gradinc.records.schemas import read_json

RUN = ("model=linear", "data.batch_size=200", "budget.epochs=2", "progress=plain", "name=mine", "checkpoint.seconds=0")


@pytest.fixture
def killed(nursery: Nursery, folder: Path) -> Path:
    """A run whose process was killed, and that names one which lives: its number was given again."""
    assert nursery.run(folder, *RUN, crash="pruned:6").code == -signal.SIGKILL
    run = only_run(folder)
    owner = read_json(run / "owner.json") or {}
    (run / "owner.json").write_text(json.dumps({**owner, "pid": os.getpid()}))
    return run


def statuses(nursery: Nursery, folder: Path) -> list[str]:
    end = nursery.run(folder, "--json", command="runs")
    assert (end.code, end.err) == (0, "")
    return [each["status"] for each in json.loads(end.out)]


@pytest.mark.parametrize("pid", [1, None, os.getpid()], ids=["the container's first", "another", "a living one"])
def test_a_number_that_was_given_again_holds_nothing(
    nursery: Nursery, folder: Path, killed: Path, pid: int | None
) -> None:
    if pid is not None:
        (killed / "owner.json").write_text(json.dumps({"pid": pid, "since": "2026-01-01 12:03:00"}))
    before = sorted((path, path.read_bytes()) for path in killed.rglob("*") if path.is_file())
    assert not is_held(killed)
    assert living_owner(killed) is None
    assert statuses(nursery, folder) == ["unfinished"]
    end = nursery.run(folder, "outputs/mine", command="verify")
    assert (end.code, end.err) == (0, ""), end.out + end.err
    assert sorted((path, path.read_bytes()) for path in killed.rglob("*") if path.is_file()) == before
    assert nursery.run(folder, *RUN).code == 0
    assert statuses(nursery, folder) == ["finished"]


def test_one_that_is_in_use_is_so_whatever_its_name_says(nursery: Nursery, folder: Path) -> None:
    life = nursery.start(folder, *LONG, "checkpoint.seconds=0")
    run = wait_for_run(folder, "ckpt")
    wait_for(run / "ckpt" / "20")
    life.kill(signal.SIGSTOP)  # it holds the run as long as this takes
    assert (read_json(run / "owner.json") or {})["host"] == platform.node()
    for said, named in (
        (None, f"process {life.pid} (since "),
        ({"pid": 4711, "host": "node7", "since": "2026-01-01 12:03:00"}, "process 4711 on node7 (since 12:03)"),
        ({"pid": 2**22 + 5, "since": "2026-01-01 12:03:00"}, "another process"),
        ({}, "another process"),
    ):
        if said is not None:
            (run / "owner.json").write_text(json.dumps(said))
        assert statuses(nursery, folder) == ["running"]
        for words, command in (((str(run),), "verify"), (LONG, "train")):
            end = nursery.run(folder, *words, command=command)
            assert (end.code, end.err.count("\n")) == (2, 1), end.err
            assert f"is in use by {named}" in end.err, end.err
    life.kill()
    life.end()
    assert statuses(nursery, folder) == ["unfinished"]


def test_looking_keeps_nobody_out(nursery: Nursery, folder: Path, killed: Path) -> None:
    """While a hundred looks a second are taken, a start that goes on is never told that the run is in use."""
    stop = threading.Event()

    def look(seen: list[Any]) -> None:
        while not stop.is_set():
            seen.append(is_held(killed))

    seen: list[bool] = []
    threads = [threading.Thread(target=look, args=(seen,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    ends = [nursery.run(folder, *RUN, "fresh=true") for _ in range(5)]
    stop.set()
    for thread in threads:
        thread.join()
    assert [(end.code, end.err) for end in ends] == [(0, "")] * 5
    assert len(seen) > 100
    assert True in seen


def test_where_nothing_was_ever_held_there_is_nothing_to_see(tmp_path: Path) -> None:
    assert not is_held(tmp_path / "none")
    assert not is_held(tmp_path)
    (tmp_path / ".lock").symlink_to("/dev/null")
    assert not is_held(tmp_path)
    (tmp_path / ".lock").unlink()
    os.mkfifo(tmp_path / ".lock")
    assert not is_held(tmp_path)
