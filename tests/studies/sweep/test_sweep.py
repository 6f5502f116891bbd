"""A sweep comes to its end whatever its jobs do, and comes to the same end when it is killed and repeated."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from planted_sweeps import TINY, Sweeps

from gradinc.config.catalog import PACKAGE

HOW = "strategy.methods.planted.how"


def results(folder: Path) -> dict[str, dict[str, Any]]:
    """What the runs under a folder have come to, by their directories' names."""
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("outputs/**/result.json")}


def bits(folder: Path) -> dict[str, tuple[str, bytes]]:
    """The digest of the weights and the log of every finished run."""
    return {
        path.parent.name: (json.loads(path.read_text())["weights_digest"], (path.parent / "metrics.jsonl").read_bytes())
        for path in folder.glob("outputs/**/result.json")
        if json.loads(path.read_text())["status"] == "finished"
    }


def wait_until(reached: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.005)


def fates(printed: str) -> dict[str, str]:
    """The rows of the table at the end: the fate of each job by its label."""
    lines = printed[printed.rindex("\njob ") :].splitlines()[2:]
    rows = [line for line in lines if "  outputs/" in line]
    return {row.split("  ")[0].strip(): row.split("  outputs/")[0].partition("  ")[2].strip() for row in rows}


def test_failing_jobs_stop_no_other_and_a_killed_sweep_ends_like_runs_alone(sweeps: Callable[..., Sweeps]) -> None:
    here = sweeps()
    grid = ("train", "-m", *TINY, "strategy=planted", f"{HOW}=not,raise,exit,leave,kill,memory", "n_jobs=2")
    command = (*grid, "seed=0")
    life = here.start(*command)
    wait_until(lambda: len(results(here.folder)) >= 1)
    os.kill(life.pid, signal.SIGKILL)  # its workers see that it is gone, save what they have and end
    life.communicate()

    code, printed = here.run(*command)
    found = fates(printed)
    assert (code, len(found)) == (1, 6)
    wanted = {"not": "finished", "raise": "failed", "exit": "failed", "leave": "exited with 0", "memory": "failed"}
    wanted["kill"] = "killed by SIGKILL"
    for label, fate in found.items():
        how = label.split()[0].removeprefix(f"{HOW}=")
        assert fate.startswith(wanted[how]), (label, fate)
    assert "1 finished" in printed
    assert "\x1b" not in printed
    assert "planted [red]" in printed, "an error's text is no markup"
    assert "does not fit into memory" in printed

    code, printed = here.run(*grid[:-2], "seed=0,1")
    assert (code, printed.count("is finished already"), len(fates(printed))) == (0, 1, 2)
    alone = sweeps("alone")
    for seed in range(2):
        assert alone.run("train", *TINY, "strategy=planted", f"seed={seed}")[0] == 0
    assert bits(here.folder) == bits(alone.folder)
    assert len(bits(alone.folder)) == 2


def test_what_is_finished_is_skipped_and_what_failed_is_tried_again(sweeps: Callable[..., Sweeps]) -> None:
    here = sweeps()
    command = ("train", "-m", *TINY, "model=mlp", "budget.steps=20", "strategy=planted", f"{HOW}=not,exit")
    command = (*command, "optimizer.lr=0.05,1e200")
    code, printed = here.run(*command)
    assert code == 1
    assert {fate.split(",")[0] for fate in fates(printed).values()} == {"finished", "failed", "diverged"}
    stamps = {path: path.stat().st_mtime_ns for path in here.folder.glob("outputs/*/*") if path.is_file()}
    finished = {path.parent for path in here.folder.glob("outputs/*/result.json") if "finished" in path.read_text()}
    code, again = here.run(*command)
    assert code == 1
    assert again.count("is finished already") == len(finished) == 1
    assert fates(again) == fates(printed)
    assert all(path.stat().st_mtime_ns == at for path, at in stamps.items() if path.parent in finished)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_has_the_running_jobs_saved_and_says_how_to_go_on(
    sweeps: Callable[..., Sweeps], number: int, code: int
) -> None:
    here = sweeps()
    command = ("train", "-m", *TINY, "budget.steps=60", "strategy=planted", f"{HOW}=slow", "seed=0,1,2", "n_jobs=2")
    life = here.start(*command)
    wait_until(lambda: len({path.parent for path in here.folder.glob("outputs/*/ckpt/[1-9]*")}) == 2)
    life.send_signal(number)
    printed, _ = life.communicate(timeout=60)
    assert life.returncode == code
    assert set(fates(printed).values()) == {"interrupted", "not started"}
    assert "Resume with: gradinc train " in printed
    assert [result["status"] for result in results(here.folder).values()] == ["interrupted"] * 2


def test_code_that_is_edited_during_a_sweep_is_for_the_next_one(sweeps: Callable[..., Sweeps], tmp_path: Path) -> None:
    program = tmp_path / "program"
    shutil.copytree(PACKAGE, program / "gradinc", ignore=shutil.ignore_patterns("__pycache__"))
    if not (program / "gradinc" / "conf").exists():
        shutil.copytree(PACKAGE.parent / "conf", program / "conf")
    here = sweeps("here", program)
    grid = f"{HOW}=pause,not,kill,raise"
    life = here.start("train", "-m", *TINY, "strategy=planted", grid)
    wait_until(lambda: (here.folder / "paused").exists())
    for path in ("core/criterion.py", "models/linear.py", "rules/sum.py"):
        (program / "gradinc" / path).write_text("raise ImportError('code of tomorrow')\n")
    (here.folder / "go").touch()
    printed, _ = life.communicate(timeout=120)
    found = {label.removeprefix(f"{HOW}="): fate.split(",")[0] for label, fate in fates(printed).items()}
    # The worker of the beginning goes on with the code of the beginning; one that has to be started later may not.
    assert found == {"pause": "finished", "not": "finished", "kill": "killed by SIGKILL", "raise": "failed"}
    assert printed.count("the sweep was composed with other code") == 1


def test_a_named_sweep_has_its_folder_and_its_grid(sweeps: Callable[..., Sweeps]) -> None:
    here = sweeps()
    command = ("train", "-m", *TINY, "name=rates")
    assert here.run(*command, "optimizer.lr=0.1,0.2")[0] == 0
    folder = here.folder / "outputs" / "rates"
    assert len(list(folder.glob("*/result.json"))) == 2
    before = sorted(path.relative_to(here.folder) for path in here.folder.rglob("*"))
    code, printed = here.run(*command, "optimizer.lr=0.1,0.3")
    assert code == 2
    assert printed == (
        "outputs/rates: was started with optimizer.lr=0.1,0.2, now optimizer.lr=0.1,0.3. Use a new name=…, "
        "leave name out to run only what is new, or keep the old values.\n"
    )
    code, printed = here.run(*command, "optimizer.lr=0.1", "optimizer.momentum=0.5", "seed=0,1")
    assert printed.startswith(
        "outputs/rates: was started with seed=0, now seed=0,1; optimizer.lr, optimizer.momentum also changed. "
    )
    code, printed = here.run("train", *TINY, "name=rates")
    assert (code, printed) == (2, "outputs/rates: is not the directory of a run. Use another name=… or output=….\n")
    assert sorted(path.relative_to(here.folder) for path in here.folder.rglob("*")) == before
    code, printed = here.run(*command, "optimizer.lr=0.1,0.2", "device=cpu", "n_jobs=2")
    assert (code, printed.count("is finished already")) == (0, 2)
