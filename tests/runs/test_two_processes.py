"""P8: two processes never train in one run directory, and one that was killed keeps nobody out."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lives import Nursery, differences, only_run, outcome
from PIL import Image

from gradinc.records.schemas import read_json

QUICK = ("model=mlp", "model.width=8", "data.batch_size=100", "budget.epochs=3", "progress=plain")
LONG = (*QUICK[:-2], "budget.epochs=200", "progress=plain", "log.steps=1")


def wait_for(path: Path, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.002)


def wait_for_run(folder: Path, file: str) -> Path:
    """Wait until the one run has some file."""
    wait_for(folder / "outputs")
    while not list((folder / "outputs").iterdir()):
        time.sleep(0.002)
    wait_for(only_run(folder) / file)
    return only_run(folder)


@pytest.mark.parametrize("attempt", range(5))
def test_of_two_that_start_at_once_one_trains(nursery: Nursery, folder: Path, attempt: int) -> None:
    lives = [nursery.start(folder, *LONG) for _ in range(2)]
    ends = [life.end() for life in lives]
    assert sorted(end.code for end in ends) == [0, 2]
    refused = next(end for end in ends if end.code == 2)
    trained = next(life for life, end in zip(lives, ends, strict=True) if end.code == 0)
    assert re.fullmatch(
        rf"outputs/\S+: is in use by process {trained.pid} \(since \d\d:\d\d\)\. .+\.\n", refused.err
    ), refused.err
    assert refused.out == ""
    segments = (read_json(only_run(folder) / "meta.json") or {})["segments"]
    assert [segment["pid"] for segment in segments] == [trained.pid]


def test_when_the_first_is_killed_the_second_start_goes_on(nursery: Nursery, folder: Path) -> None:
    first = nursery.start(folder, *LONG, "checkpoint.seconds=0")
    wait_for(wait_for_run(folder, "ckpt") / "ckpt" / "20")
    first.kill()
    assert first.end().code == -signal.SIGKILL
    second = nursery.run(folder, *LONG)
    assert second.code == 0
    assert "resuming from step" in second.out
    assert nursery.run(folder / "whole", *LONG).code == 0
    assert differences(only_run(folder), outcome(only_run(folder / "whole"))) == []


def test_the_owner_that_is_named_is_alive(nursery: Nursery, folder: Path) -> None:
    first = nursery.start(folder, *LONG, "checkpoint.seconds=0")
    run = wait_for_run(folder, "ckpt")
    first.kill()
    first.end()
    assert (run / "owner.json").exists()
    second = nursery.start(folder, *LONG, plant="say_late_who_owns_it")
    wait_for(folder / "owned")
    third = nursery.run(folder, *LONG)
    assert third.code == 2
    assert f"is in use by process {second.pid} " in third.err
    second.kill()
    second.end()


def pictures(folder: Path) -> None:
    """Ten small pictures of each of two kinds."""
    pixels, tomorrow = np.random.default_rng(0), time.time() + 86_400
    for kind in ("left", "right"):
        (folder / kind).mkdir(parents=True)
        for number in range(20):
            image = pixels.integers(0, 255, (8, 8, 3), np.uint8)
            image[:, :4] //= 1 if kind == "left" else 3
            path = folder / kind / f"{number}.png"
            Image.fromarray(image).save(path)
            os.utime(path, (tomorrow, tomorrow))  # no record of a file that is so new is stored in the user's cache


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == pid:
                found.append(int(path.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def test_workers_that_outlive_the_first_keep_nobody_out(nursery: Nursery, folder: Path) -> None:
    pictures(folder / "pictures")
    command = (
        "data=image_folder", "data.root=pictures", "data.memory=stream", "data.batch_size=4",
        "model=linear", "budget.epochs=6", "log.steps=1", "progress=plain", "checkpoint.seconds=0",
    )  # fmt: skip
    first = nursery.start(folder, *command, "data.workers=1")
    run = wait_for_run(folder, "ckpt")
    wait_for(run / "ckpt" / "9")
    deadline = time.monotonic() + 20
    while not (workers := children(first.pid)):
        assert time.monotonic() < deadline, "no workers"
    first.kill()
    first.end()
    second = nursery.run(folder, *command)
    assert "pt_data_worker" in Path(f"/proc/{workers[0]}/status").read_text()  # it looks for its parent every 5 seconds
    assert (second.code, second.err) == (0, "")
    assert "resuming from step" in second.out
    assert nursery.run(folder, *command, "output=whole").code == 0
    (whole,) = (folder / "whole").iterdir()
    assert differences(run, outcome(whole)) == []


class Meeting:
    """Two starts of one run: one reads its data until the other is done."""

    def __init__(self, nursery: Nursery, folder: Path) -> None:
        self.nursery, self.folder = nursery, folder

    def late(self, *arguments: str) -> Any:
        life = self.nursery.start(self.folder, *QUICK, "name=shared", *arguments, plant="read_until_told")
        wait_for(self.folder / "reading")
        return life

    def early(self, *arguments: str, **options: Any) -> Any:
        return self.nursery.run(self.folder, *QUICK, "name=shared", *arguments, **options)

    def go_on(self) -> None:
        (self.folder / "go").touch()


@pytest.fixture
def meeting(nursery: Nursery, folder: Path) -> Meeting:
    return Meeting(nursery, folder)


def test_a_config_that_came_in_between_is_noticed(meeting: Meeting) -> None:
    late = meeting.late("optimizer.lr=0.2")
    assert meeting.early("optimizer.lr=0.1").code == 0
    finished = outcome(only_run(meeting.folder))
    meeting.go_on()
    end = late.end()
    assert end.code == 2
    assert "was started with optimizer.lr=0.1, now 0.2" in end.err
    assert differences(only_run(meeting.folder), finished) == []


def test_a_run_that_was_finished_in_between_is_left_alone(meeting: Meeting) -> None:
    late = meeting.late()
    assert meeting.early().code == 0
    finished = outcome(only_run(meeting.folder))
    meeting.go_on()
    end = late.end()
    assert end.code == 0
    assert "is finished already" in end.out
    assert differences(only_run(meeting.folder), finished) == []


def test_a_run_that_was_killed_in_between_is_gone_on_with(meeting: Meeting) -> None:
    late = meeting.late()
    assert meeting.early("checkpoint.seconds=0", crash="pruned:9").code == -signal.SIGKILL
    meeting.go_on()
    end = late.end()
    assert end.code == 0
    assert "resuming from step" in end.out
    run = only_run(meeting.folder)
    assert len((read_json(run / "meta.json") or {})["segments"]) == 2
    assert meeting.nursery.run(meeting.folder / "whole", *QUICK, "name=shared").code == 0
    assert differences(run, outcome(only_run(meeting.folder / "whole"))) == []
