"""Whole commands, each in a process of its own: the start of a run, and a sweep of short jobs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

from gradinc.config.catalog import PACKAGE
from gradinc.studies.bench.harness import Bench, BenchResult, in_turns, summarized

_START = "start of a run"
_SWEEP = "sweep of 24 jobs, two at a time"

SHORT = ("data=digits", "model=mlp", "budget.epochs=1", "progress=quiet")
"""Overrides for a run of a tenth of a second."""


def commands() -> dict[str, Bench]:
    """Return the benches by name."""
    return {_START: _start, _SWEEP: _sweep}


def _start(rounds: int) -> BenchResult:
    """Measure the ratio of the time of a whole run of one epoch to the time in which Python imports torch."""

    def run() -> float:
        return _seconds("-m", "gradinc", "train", *SHORT)

    return summarized(_START, "time", in_turns(run, lambda: _seconds("-c", "import torch"), rounds), "≤", 1.9)


def _sweep(rounds: int) -> BenchResult:
    """Measure the ratio of the time of a sweep with one job at a time to the time with two jobs at a time."""
    seeds = ",".join(map(str, range(24)))

    def jobs(count: int) -> float:
        return _seconds("-m", "gradinc", "train", "-m", f"seed={seeds}", f"n_jobs={count}", *SHORT)

    return summarized(_SWEEP, "speed", in_turns(lambda: jobs(1), lambda: jobs(2), rounds), "≥", 1.6)


def _seconds(*arguments: str) -> float:
    """Run Python in an empty directory, with this gradinc, and return the time that it took."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - begun
