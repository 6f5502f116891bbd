"""P2: a checkpoint that is not whole is found before it is used, and the one before is."""

from __future__ import annotations

import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from configs import CONFIGS, RICH, WATCHED
from lives import Nursery, differences, only_run, outcome

from gradinc.base.files import write_whole
from gradinc.runs import checkpoint

COMMAND = (*CONFIGS[RICH], *WATCHED)
Damage = Callable[[Path], None]


def cut(length: Callable[[int], int]) -> Damage:
    """Keep so many bytes of a file."""

    def damage(path: Path) -> None:
        content = path.read_bytes()
        path.write_bytes(content[: length(len(content))])

    return damage


def flip(seed: int) -> Damage:
    """Flip one bit somewhere."""

    def damage(path: Path) -> None:
        content = bytearray(path.read_bytes())
        place = random.Random(seed).randrange(len(content))
        content[place] ^= 1 << random.Random(seed).randrange(8)
        path.write_bytes(content)

    return damage


def something_else(path: Path) -> None:
    """A whole file with its checksum, but no checkpoint."""
    import hashlib

    write_whole(path, hashlib.sha256(b"something else").digest() + b"something else")


DAMAGES = {
    "0 bytes": cut(lambda size: 0),
    "1 byte": cut(lambda size: 1),
    "31 bytes": cut(lambda size: 31),
    "32 bytes": cut(lambda size: 32),
    "half": cut(lambda size: size // 2),
    "all but a byte": cut(lambda size: size - 1),
    "a bit": flip(1),
    "another bit": flip(2),
    "something else": something_else,
}


@pytest.fixture(scope="module")
def wanted(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict:
    folder = tmp_path_factory.mktemp("whole")
    assert nursery.run(folder, *COMMAND).code == 0
    return outcome(only_run(folder))


@pytest.fixture(scope="module")
def killed(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed in its second epoch, with two checkpoints."""
    folder = tmp_path_factory.mktemp("killed")
    assert nursery.run(folder, *COMMAND, crash="after-replace:20").code == -signal.SIGKILL
    return folder


@pytest.fixture
def copy(killed: Path, folder: Path) -> Path:
    return shutil.copytree(killed, folder, dirs_exist_ok=True)


def checkpoints(folder: Path) -> list[Path]:
    """Newest first."""
    ckpt = only_run(folder) / "ckpt"
    return [ckpt / str(mark) for mark in checkpoint.marks(ckpt)]


def warnings(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("warning: ")]


def files_of(run: Path) -> list[Path]:
    """All but the name of the process that was killed."""
    return [path for path in run.rglob("*") if path.is_file() and path.name != "owner.json"]


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_the_one_before_is_used(nursery: Nursery, copy: Path, wanted: dict, damage: Damage) -> None:
    newest, before, *_ = checkpoints(copy)
    damage(newest)
    end = nursery.run(copy, *COMMAND)
    assert end.code == 0
    (warning,) = warnings(end.out)
    relative = newest.relative_to(copy).as_posix()
    assert warning.startswith(f"warning: {relative} is damaged (")
    assert warning.endswith(f"Resuming from step {before.name.split('+')[0]}.")
    assert differences(only_run(copy), wanted) == []


def test_with_all_of_them_damaged_it_starts_again(nursery: Nursery, copy: Path, wanted: dict) -> None:
    found = checkpoints(copy)
    for path in found:
        cut(lambda size: size // 2)(path)
    end = nursery.run(copy, *COMMAND)
    assert end.code == 0
    assert [line.endswith("Resuming from step 0.") for line in warnings(end.out)] == [True] * len(found)
    assert differences(only_run(copy), wanted) == []


def test_another_runs_checkpoint_is_not_taken(nursery: Nursery, copy: Path, tmp_path: Path, wanted: dict) -> None:
    other = tmp_path / "other"
    nursery.run(other, *COMMAND, "seed=1", crash="after-replace:20")
    newest, *_ = checkpoints(copy)
    mine, theirs = newest.read_bytes(), checkpoints(other)[0].read_bytes()
    newest.write_bytes(theirs)
    checkpoints(other)[0].write_bytes(mine)
    for folder, command in ((copy, COMMAND), (other, (*COMMAND, "seed=1"))):
        end = nursery.run(folder, *command)
        assert end.code == 0
        (warning,) = warnings(end.out)
        assert "is damaged (of another run)" in warning
    assert differences(only_run(copy), wanted) == []
    whole = tmp_path / "whole"
    nursery.run(whole, *COMMAND, "seed=1")
    assert differences(only_run(other), outcome(only_run(whole))) == []


def test_a_damaged_one_is_told_once_and_outlives_no_whole_one(nursery: Nursery, copy: Path, wanted: dict) -> None:
    newest, *_ = checkpoints(copy)
    cut(lambda size: size // 2)(newest.rename(newest.with_name("4000")))  # such a number is never reached
    assert len(warnings(nursery.run(copy, *COMMAND, "checkpoint.keep=1", crash="pruned:2").out)) == 1
    end = nursery.run(copy, *COMMAND, "checkpoint.keep=1")
    assert warnings(end.out) == []
    assert "resuming from step" in end.out
    assert differences(only_run(copy), wanted) == []


def test_a_log_that_has_lost_lines_is_not_filled_up(nursery: Nursery, copy: Path) -> None:
    metrics = only_run(copy) / "metrics.jsonl"
    metrics.write_bytes(metrics.read_bytes()[:-40])
    before = {path: path.read_bytes() for path in files_of(only_run(copy))}
    end = nursery.run(copy, *COMMAND)
    assert end.code == 2
    assert end.err.startswith(f"{metrics.relative_to(copy)}: ")
    assert end.err.count("\n") == 1
    assert {path: path.read_bytes() for path in files_of(only_run(copy))} == before


def test_the_log_of_times_has_whole_lines_only(nursery: Nursery, folder: Path) -> None:
    import json

    for visit in (4, 6, 5):  # metrics and timings take turns
        nursery.run(folder, *COMMAND, crash=f"mid-line:{visit}")
    assert nursery.run(folder, *COMMAND).code == 0
    lines = (only_run(folder) / "timing.jsonl").read_text().splitlines()
    assert all(set(json.loads(line)) >= {"step", "seconds"} for line in lines)
