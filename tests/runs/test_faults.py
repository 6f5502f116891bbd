"""P12, P13, P14: numbers that are not finite, disks that are full, memory that is short."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lives import HERE, PACKAGE, Nursery, differences, only_run, outcome, snapshot

from gradinc.records.schemas import read_result
from gradinc.runs import checkpoint

RUN = ("model=linear", "data.batch_size=200", "budget.epochs=2", "progress=plain", "name=mine", "checkpoint.seconds=0")


@pytest.fixture(scope="module")
def wanted(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    assert nursery.run(folder, *RUN).code == 0
    return outcome(only_run(folder))


# ---- P12: numbers that are not finite ----

PLACES = {
    "a_loss_that_is_not_finite": "loss",
    "a_gradient_that_is_not_finite": "",
    "a_gradient_without_end": "",
    "a_weight_that_is_not_finite": "",
}


@pytest.mark.parametrize("often", [True, False], ids=["saved often", "saved at the end"])
@pytest.mark.parametrize("place", PLACES)
def test_a_number_that_is_not_finite_ends_the_run(nursery: Nursery, folder: Path, place: str, often: bool) -> None:
    words = RUN if often else RUN[:-1]
    end = nursery.run(folder, *words, plant=place)
    assert (end.code, end.err) == (1, "")
    run = only_run(folder)
    result = read_result(run / "result.json") or {}
    # The weights are checked before they are saved; otherwise the next loss shows it.
    step = 6 if place != "a_loss_that_is_not_finite" and not often else 5
    assert (result["status"], result["diverged_at"]) == ("diverged", step)
    assert result["tensor"].startswith(PLACES[place])
    assert f"outputs/mine diverged at step {step}: {result['tensor']} is not finite. The last good " in end.out
    marks = checkpoint.marks(run / "ckpt")
    assert [mark.updates for mark in marks] == ([4, 3] if often else [])
    for mark in marks:
        weights = checkpoint.read(run / "ckpt" / str(mark), None)["learner"]["model"]
        assert all(bool(torch.isfinite(value).all()) for value in weights.values())
    before = snapshot(folder)
    again = nursery.run(folder, *words)
    assert (again.code, again.err) == (1, "")
    assert f"diverged at step {step}" in again.out
    assert snapshot(folder) == before


def test_after_that_a_fresh_run_is_whole(nursery: Nursery, folder: Path, wanted: dict[str, Any]) -> None:
    nursery.run(folder, *RUN, plant="a_gradient_that_is_not_finite")
    assert nursery.run(folder, *RUN, "fresh=true").code == 0
    assert differences(only_run(folder), wanted) == []


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_an_input_that_is_not_finite_is_refused(nursery: Nursery, folder: Path, value: float) -> None:
    x = np.random.default_rng(0).random((60, 4))
    x[33, 2] = value
    np.savez(folder / "data.npz", x=x, y=np.arange(60) % 3)
    end = nursery.run(folder, *RUN, "data=npz", "data.root=data.npz")
    assert (end.code, end.out, end.err.count("\n")) == (2, "", 1)
    assert end.err.startswith("data.npz: ")
    assert [path.name for path in folder.iterdir()] == ["data.npz"]


# ---- P13: disks ----


@pytest.mark.parametrize("room", [500, 1500, 3000, 8200])
def test_a_file_that_has_no_room_is_told_and_the_run_goes_on_later(
    nursery: Nursery, folder: Path, wanted: dict[str, Any], room: int
) -> None:
    end = nursery.run(folder, *RUN, largest_file=room)
    assert (end.code, end.err.count("\n")) == (1, 1), end.err
    assert end.err.startswith("outputs/mine/")
    assert " cannot be written: File too large (" in end.err
    assert " bytes are needed, " in end.err
    assert not list(folder.rglob("*.tmp"))
    assert nursery.run(folder, *RUN).code == 0
    assert differences(only_run(folder), wanted) == []


def test_the_checkpoint_before_stays(nursery: Nursery, folder: Path, wanted: dict[str, Any]) -> None:
    assert nursery.run(folder, *RUN, crash="pruned:6").code == -signal.SIGKILL
    before = {path.name: path.read_bytes() for path in (only_run(folder) / "ckpt").iterdir()}
    end = nursery.run(folder, *RUN, largest_file=5000)
    assert (end.code, end.err.count("\n")) == (1, 1)
    assert {path.name: path.read_bytes() for path in (only_run(folder) / "ckpt").iterdir()} == before
    assert nursery.run(folder, *RUN).code == 0
    assert differences(only_run(folder), wanted) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], capture_output=True, check=False)
    if made.returncode != 0:
        pytest.skip("mounting a small disk needs the rights of root")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_told_and_the_run_goes_on_when_there_is_room(
    nursery: Nursery, folder: Path, disk: Path, wanted: dict[str, Any]
) -> None:
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(36_000))
    end = nursery.run(folder, *RUN, f"output={disk}")
    assert (end.code, end.err.count("\n")) == (1, 1), end.err
    assert f"{disk}/mine/" in end.err
    assert " cannot be written: No space left on device (" in end.err
    assert " bytes are free). Free some space or choose another output=…; the same command then resumes.\n" in end.err
    ballast.unlink()
    assert nursery.run(folder, *RUN, f"output={disk}").code == 0
    assert differences(disk / "mine", wanted) == []


def test_a_disk_without_inodes_is_not_called_short_of_bytes(nursery: Nursery, folder: Path, disk: Path) -> None:
    made = subprocess.run(["mount", "-o", "remount,size=10m,nr_inodes=6", disk], capture_output=True, check=False)
    assert made.returncode == 0, made.stderr
    end = nursery.run(folder, *RUN, f"output={disk}")
    assert (end.code, end.err.count("\n")) == (1, 1), end.err
    assert ", and no inode is free: the limit of 6 files is reached). " in end.err
    assert "bytes are free" not in end.err


def test_a_read_only_disk_is_told(nursery: Nursery, folder: Path, disk: Path, wanted: dict[str, Any]) -> None:
    def remount(mode: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{mode}", disk], check=True)

    remount("ro")
    end = nursery.run(folder, *RUN, f"output={disk}")
    assert (end.code, end.out) == (2, "")
    assert end.err.startswith(f"{disk}/mine: cannot be written: Read-only file system. ")
    remount("rw")
    assert nursery.run(folder, *RUN, f"output={disk}", crash="pruned:6").code == -signal.SIGKILL
    remount("ro")
    end = nursery.run(folder, *RUN, f"output={disk}")
    assert (end.code, end.out, end.err.count("\n")) == (2, "", 1)
    remount("rw")
    assert nursery.run(folder, *RUN, f"output={disk}").code == 0
    assert differences(disk / "mine", wanted) == []
    remount("ro")
    end = nursery.run(folder, *RUN, f"output={disk}")
    assert (end.code, end.err) == (0, "")
    assert "is finished already" in end.out


@pytest.mark.parametrize(
    ("output", "line"),
    [
        ("file", "output=file: is a file. "),
        ("file/in/it", "output=file/in/it: leads through file, which is a file. "),
        ("x" * 300, f"output={'x' * 300}: cannot be a place for runs (File name too long). "),
    ],
)
def test_an_output_that_cannot_be_one_is_bad_input(nursery: Nursery, folder: Path, output: str, line: str) -> None:
    (folder / "file").write_text("mine")
    end = nursery.run(folder, *RUN, f"output={output}")
    assert (end.code, end.out, end.err.count("\n")) == (2, "", 1), end.err
    assert end.err.startswith(line), end.err
    assert {path.name for path in folder.iterdir()} == {"file"}
    assert (folder / "file").read_text() == "mine"


# ---- P14: memory ----


@pytest.mark.parametrize("place", ["no_memory_for_python", "no_memory_on_the_device"])
def test_no_memory_is_told_with_the_fix(nursery: Nursery, folder: Path, wanted: dict[str, Any], place: str) -> None:
    end = nursery.run(folder, *RUN, plant=place)
    assert (end.code, end.err.count("\n")) == (1, 1), end.err
    fix = "Use data.batch_size=100 strategy.window.size=2: the same update"
    assert end.err == f"data.batch_size=200: does not fit into memory. {fix}.\n"
    assert [mark.updates for mark in checkpoint.marks(only_run(folder) / "ckpt")] == [4, 3]
    assert nursery.run(folder, *RUN).code == 0
    assert differences(only_run(folder), wanted) == []


def test_micro_batches_that_were_found_and_do_not_fit_any_more_are_told(nursery: Nursery, folder: Path) -> None:
    auto = ("strategy.window.micro_batch=auto", "strategy.window.size=2")
    end = nursery.run(folder, *RUN, *auto, plant="no_memory_on_the_device")
    assert (end.code, end.err.count("\n")) == (1, 1), end.err
    assert end.err == (
        "strategy.window.micro_batch=auto: found micro-batches that do not fit into memory any more."
        " fresh=true looks again; data.batch_size=200 strategy.window.size=2 is the same update.\n"
    )


WIDE = ("model=mlp", "model.width=4096", "model.depth=2", "data.batch_size=1400", "budget.steps=2", "progress=plain")


@pytest.mark.parametrize("megabytes", [60, 200, 350])
def test_a_limit_of_memory_is_told_wherever_it_is_met(nursery: Nursery, folder: Path, megabytes: int) -> None:
    end = nursery.run(folder, *WIDE, memory=megabytes * 10**6)
    assert (end.code, end.err.count("\n")) == (1, 1), end.err
    assert " does not fit into memory. " in end.err


def test_a_model_that_no_memory_holds_is_told_and_nothing_is_made(nursery: Nursery, folder: Path) -> None:
    end = nursery.run(folder, "model=mlp", f"model.width={2**62}")
    assert end.err == "model=mlp with data=digits: does not fit into memory. Use a smaller model or set.\n"
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(("rows", "fix"), [(35, "data.batch_size=7 strategy.window.size=5"), (1, "a smaller model")])
def test_the_fix_is_the_same_update(nursery: Nursery, folder: Path, rows: int, fix: str) -> None:
    end = nursery.run(folder, *RUN, f"data.batch_size={rows}", plant="no_memory_for_python")
    assert end.err.startswith(f"data.batch_size={rows}: does not fit into memory. Use {fix}")


# ---- what is printed ----


def gradinc(folder: Path, *words: str, **streams: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), str(HERE)])}
    line = [sys.executable, "-m", "gradinc", *words]
    return subprocess.Popen(line, cwd=folder, env=environment, text=True, stderr=subprocess.PIPE, **streams)


def test_a_run_goes_on_when_nobody_reads_it(tmp_path: Path, wanted: dict[str, Any]) -> None:
    process = gradinc(tmp_path, "train", *RUN, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait()) == ("", 0)
    assert differences(only_run(tmp_path), wanted) == []


def test_a_run_goes_on_when_what_it_prints_has_no_room(tmp_path: Path, wanted: dict[str, Any]) -> None:
    with open("/dev/full", "w") as full:
        process = gradinc(tmp_path, "train", *RUN, stdout=full)
        _, err = process.communicate()
    line = "standard output: cannot be written (No space left on device). The run continues without it.\n"
    assert (err, process.returncode) == (line, 0)
    assert differences(only_run(tmp_path), wanted) == []
    with open("/dev/full", "w") as full:
        process = gradinc(tmp_path, "list", "strategies", stdout=full)
        _, err = process.communicate()
    line = "standard output: cannot be written (No space left on device). Redirect it to another place.\n"
    assert (err, process.returncode) == (line, 1)


def test_streams_that_are_closed_are_not_mistaken_for_files(tmp_path: Path, wanted: dict[str, Any]) -> None:
    words = " ".join(RUN)
    line = f"{sys.executable} -m gradinc train {words} >&- 2>&- <&-"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    assert subprocess.run(["sh", "-c", line], cwd=tmp_path, env=environment, check=False).returncode == 0
    assert differences(only_run(tmp_path), wanted) == []
