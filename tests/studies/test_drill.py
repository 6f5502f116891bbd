"""P20: ``gradinc drill`` kills one's own job, and tells a run that comes back from one that does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lives import HERE, PACKAGE, Nursery

JOB = ("model=linear", "data.batch_size=100", "budget.epochs=4", "strategy=accumulate", "strategy.window.size=3")

ANOTHER_ORDER = (
    "import gradinc.base.randomness as r, os; derive = r.derive; "
    "r.derive = lambda seed, *purpose: derive(os.getpid() if 'order' in purpose else seed, *purpose)"
)
"""Rows come in an order that each process draws anew."""


def drill(folder: Path, *words: str, plant: str = "") -> subprocess.CompletedProcess[str]:
    """The command, in a process that can find a ``sitecustomize`` that plants a bug into each start of a run."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    if plant:
        (folder / "sitecustomize.py").write_text(f"import sys\nif 'train' in sys.argv[:4]:\n    {plant}\n")
        environment["PYTHONPATH"] = os.pathsep.join([str(folder), str(PACKAGE.parent), str(HERE)])
    words = (sys.executable, "-m", "gradinc", "drill", *words)
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_a_job_that_comes_back_is_the_same(tmp_path: Path) -> None:
    done = drill(tmp_path, "1", "--", "train", *JOB)
    assert (done.returncode, done.stdout.count("\n")) == (0, 1), done.stdout + done.stderr
    assert done.stdout.startswith("1 kill, starts from steps 0")
    assert done.stdout.endswith(": the same bits as undisturbed\n")
    assert "undisturbed: " in done.stderr
    assert "kill 1 of 1, after " in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_is_never_twice_the_same_is_told(tmp_path: Path) -> None:
    done = drill(tmp_path, "1", "--quiet", "--", "train", *JOB, plant=ANOTHER_ORDER)
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith(": NOT the same as undisturbed")
    assert "result.json: weights_digest was " in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "gradinc drill: needs a number of kills, 1 to 100000. Write gradinc drill 10 -- train model=cnn …."),
        (("x", "--", "train"), "gradinc drill x: needs a number of kills, "),
        (("0", "--", "train"), "gradinc drill 0: needs a number of kills, "),
        (("3",), "gradinc drill: names no job. "),
        (("3", "--", "bench"), "gradinc drill: drills gradinc train only. "),
        (("3", "--", "train", "-m", "seed=0,1"), "--multirun: gradinc drill kills a single run. Leave it out."),
        (("3", "--", "train", "optm.lr=1"), "optm.lr: no such key. "),
        (("3", "--", "train", "budget.seconds=9"), "budget.seconds=9: ends a run by the clock, "),
    ],
)
def test_what_cannot_be_drilled_is_bad_input(nursery: Nursery, folder: Path, words: tuple[str, ...], line: str) -> None:
    end = nursery.run(folder, *words, command="drill")
    assert (end.code, end.out, end.err.count("\n")) == (2, "", 1), end.err
    assert end.err.startswith(line), end.err
    assert list(folder.iterdir()) == []
