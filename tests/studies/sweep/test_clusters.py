"""Sweeps on a real Slurm and a real Ray on this machine, with a worker killed and one preempted in the middle.

They are left out unless asked for: ``scripts/slurm_loopback start && pytest -m slurm`` and
``scripts/ray_loopback start && pytest -m ray``.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from planted_sweeps import TINY, Sweeps
from test_sweep import HOW, bits, fates, results, wait_until

SLOW = (*TINY, "budget.steps=250", "strategy=planted", f"{HOW}=slow", "seed=0,1,2,3")


def said(*words: str) -> str:
    if shutil.which(words[0]) is None:
        return ""
    return subprocess.run(words, capture_output=True, text=True).stdout


def saved(folder: Path) -> dict[str, int]:
    """The process of every run that has saved something after its start, by the run's directory."""
    import json

    found = {}
    for path in folder.glob("outputs/*/owner.json"):
        if any(int(mark.name.split("+")[0]) > 3 for mark in path.parent.glob("ckpt/[0-9]*")):
            found[path.parent.name] = int(json.loads(path.read_text())["pid"])
    return found


def alone(sweeps: Callable[..., Sweeps]) -> dict[str, tuple[str, bytes]]:
    there = sweeps("alone")
    assert there.run("train", "-m", *SLOW, "n_jobs=2", "-q")[0] == 0
    return bits(there.folder)


@pytest.mark.slurm
def test_slurm_jobs_that_are_preempted_go_on_and_one_that_is_killed_is_tried_again(
    sweeps: Callable[..., Sweeps],
) -> None:
    if "idle" not in said("sinfo", "-h", "-o", "%T"):
        pytest.skip("there is no Slurm with an idle node: scripts/slurm_loopback start")
    here = sweeps()
    command = ("train", "-m", *SLOW, "cluster=slurm")
    life = here.start(*command)
    wait_until(lambda: len(saved(here.folder)) == 2)
    first, second = saved(here.folder).items()
    running = said("squeue", "--me", "--array", "-h", "-t", "R", "-o", "%i").split()
    numbers = {name: int(name.rsplit("-", 2)[1].removeprefix("s")) for name in (first[0], second[0])}
    (job,) = [number for number in running if number.endswith(f"_{numbers[first[0]]}")]
    os.kill(second[1], signal.SIGKILL)
    subprocess.run(["scancel", "--signal=USR2", job])  # as Slurm does when it preempts
    printed, _ = life.communicate(timeout=300)
    found = [fate.split(",")[0] for fate in fates(printed).values()]
    assert sorted(found) == ["finished"] * 3 + ["killed by SIGKILL"], printed
    assert life.returncode == 1
    assert results(here.folder)[first[0]]["status"] == "finished"
    code, printed = here.run(*command)
    assert (code, printed.count("is finished already")) == (0, 3)
    assert bits(here.folder) == alone(sweeps)


@pytest.mark.ray
def test_ray_jobs_go_on_elsewhere_when_their_actor_is_killed(sweeps: Callable[..., Sweeps]) -> None:
    address = "127.0.0.1:6399"
    check = f"{sys.executable} -m ray.scripts.scripts health-check --address {address}"
    if subprocess.run(check.split(), capture_output=True).returncode:
        pytest.skip("there is no Ray cluster at 127.0.0.1:6399: scripts/ray_loopback start")
    here = sweeps()
    command = ("train", "-m", *SLOW, "cluster=ray", f"address={address}")
    life = here.start(*command)
    wait_until(lambda: len(saved(here.folder)) == 2)
    worker = saved(here.folder).popitem()[1]
    actor = int(Path(f"/proc/{worker}/stat").read_text().rsplit(")", 1)[1].split()[1])
    assert b"ray::" in Path(f"/proc/{actor}/cmdline").read_bytes()
    os.kill(actor, signal.SIGKILL)
    printed, _ = life.communicate(timeout=300)
    assert {fate.split(",")[0] for fate in fates(printed).values()} == {"finished"}, printed
    assert "its worker was lost; continuing with another" in printed
    assert life.returncode == 0
    assert bits(here.folder) == alone(sweeps)
