"""Layer 5 of the kill test: sweeps whose parent or workers are killed, or whose disk is full, at random moments."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from lives import PACKAGE, PATIENCE, broken_run, differences, outcome

SWEEP = (
    *("model=mlp", "model.width=16", "stream=split", "stream.tasks=2", "data.batch_size=50", "budget.epochs=4"),
    *("strategy=er,ewc", "seed=0,1", "log.steps=1", "checkpoint.seconds=0", "n_jobs=2"),
)
JOBS = 4

WAYS = ("parent", "worker", "parent and workers", "full disk")
"""Who is killed; or no file can grow beyond some size, which is drawn."""

LARGEST = 60_000
"""Bytes that a file may have at most where the disk is full; a checkpoint of these runs has about as many."""


def kill_sweeps(scratch: Path, kills: int, choices: random.Random) -> Iterator[dict[str, Any]]:
    """Kill sweeps again and again, going on with the same command each time, and compare them at their end.

    Yields:
        A line for each kill and for each sweep that came to its end; ``wrong`` says what should not have been.
    """
    wanted = _undisturbed(scratch / "whole")
    done = 0
    while done < kills:
        folder = scratch / "killed"
        shutil.rmtree(folder, ignore_errors=True)
        over = False
        while not over and done < kills:
            way = WAYS[done % len(WAYS)]
            code, struck = _disturb(folder, way, choices, max(len(each["metrics"]) for each in wanted.values()))
            wrong = [
                f"{run.name}: {what}"
                for run in _runs(folder)
                for what in broken_run(run, wanted[run.name]["metrics"] if run.name in wanted else b"")
            ]
            if code not in (0, 1, -signal.SIGKILL):
                wrong.append(f"exit code {code}")
            over = code == 0
            if struck:
                done += 1
                yield {"kind": "sweep kill", "name": "a sweep", "way": way, "code": code, "wrong": wrong}
        code = _start(folder).wait(PATIENCE)
        wrong = [] if code == 0 else [f"exit code {code}: {(folder.parent / 'printed').read_text()[-2000:]}"]
        wrong += [] if {run.name for run in _runs(folder)} == set(wanted) else ["other runs than undisturbed"]
        wrong += [f"{run.name}: {what}" for run in _runs(folder) for what in differences(run, wanted[run.name])]
        yield {"kind": "sweep end", "name": "a sweep", "wrong": wrong}


def _undisturbed(folder: Path) -> dict[str, dict[str, Any]]:
    if (code := _start(folder).wait(PATIENCE)) != 0:
        raise RuntimeError(f"the sweep ended with {code} undisturbed: {(folder.parent / 'printed').read_text()}")
    return {run.name: outcome(run) for run in _runs(folder)}


def _start(folder: Path, largest_file: int | None = None) -> subprocess.Popen[bytes]:
    """The sweep, in a process and with workers of its own; what it prints goes beside its folder."""
    folder.mkdir(parents=True, exist_ok=True)

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), "OMP_NUM_THREADS": "1"}
    with open(folder.parent / "printed", "wb") as printed:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "gradinc", "train", "-m", *SWEEP],
            cwd=folder,
            env=environment,
            stdout=printed,
            stderr=subprocess.STDOUT,
            preexec_fn=limit,
        )


def _disturb(folder: Path, way: str, choices: random.Random, log: int) -> tuple[int, bool]:
    """Start the sweep and disturb it; its exit code, and whether it was disturbed before it was over."""
    if way == "full disk":
        return _start(folder, int(LARGEST * choices.random() ** 2)).wait(PATIENCE), True
    process = _start(folder)
    wanted = _written(folder) + choices.randint(0, log)
    while process.poll() is None and _written(folder) < wanted:
        time.sleep(0.002)
    time.sleep(choices.uniform(0, 0.02))
    workers = _children(process.pid)
    if process.poll() is not None or not workers:
        return process.wait(PATIENCE), False
    struck = [process.pid] if way == "parent" else [choices.choice(workers)] if way == "worker" else []
    for pid in struck or [process.pid, *workers]:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    code = process.wait(PATIENCE)
    end = time.monotonic() + PATIENCE
    while any(_is_running(pid) for pid in workers):  # they save what they have
        if time.monotonic() > end:
            raise TimeoutError("a worker outlives its sweep")
        time.sleep(0.01)
    return code, True


def _children(pid: int) -> list[int]:
    """The worker processes of a sweep, which its threads have started."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += map(int, (task / "children").read_text().split())
    return found


def _is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _runs(folder: Path) -> list[Path]:
    return sorted((folder / "outputs").glob("*")) if folder.exists() else []


def _written(folder: Path) -> int:
    """Bytes of all logs."""
    total = 0
    for path in folder.glob("outputs/*/metrics.jsonl"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def report(line: dict[str, Any]) -> str:
    """A line of the results for people."""
    return f"{line['kind']}  {line.get('way', '')}  {json.dumps(line['wrong']) if line['wrong'] else 'as it should be'}"
