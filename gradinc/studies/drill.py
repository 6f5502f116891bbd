"""A drill: a run is killed repeatedly and compared with an undisturbed run."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.records.lock import living_owner
from gradinc.records.schemas import read_json, read_result
from gradinc.runs.comparison import run_differences

POLL = 0.005
"""Seconds between two checks of a run that is to be killed."""


@dataclass(frozen=True)
class Drilled:
    """The result of a drill.

    Attributes:
        kills: number of kills.
        starts: the step from which each start resumed.
        differences: differences from the undisturbed run, in words.
    """

    kills: int
    starts: tuple[int, ...]
    differences: tuple[str, ...]


class Drill:
    """A run and its undisturbed copy in a scratch directory.

    Args:
        words: the ``key=value`` words and options of ``gradinc train``.
        scratch: an empty directory.
        tell: called with a line for each event.
    """

    def __init__(self, words: Sequence[str], scratch: Path, tell: Callable[[str], None]) -> None:
        self.words, self.scratch, self.tell = tuple(words), scratch, tell
        self._choices = random.Random()

    def run(self, kills: int) -> Drilled:
        """Run undisturbed, then with kills, and compare.

        Raises:
            UserError: the run does not finish without kills.
        """
        whole = self._finish("whole")
        seconds = (read_result(whole / "result.json") or {}).get("seconds", 1.0)
        self.tell(f"undisturbed: {seconds:.1f} s of training")
        starts: list[int] = []
        differences: list[str] = []
        done = attempt = 0
        while done < kills and not differences:
            attempt += 1
            place = f"killed-{attempt}"
            while done < kills:
                # Save ten times between two kills on average, so that starts do not always begin without a checkpoint.
                share = seconds / max(1, kills - done)
                struck = self._kill(place, self._choices.uniform(0, 2 * share), share / 10)
                if not struck:
                    break
                done += 1
                self.tell(f"kill {done} of {kills}, after {self._seconds_alive:.1f} s")
            run = self._finish(place)
            starts += [segment["from_step"] for segment in (read_json(run / "meta.json") or {}).get("segments", [])]
            differences = run_differences(whole, run)
        return Drilled(done, tuple(starts), tuple(differences))

    def _finish(self, place: str) -> Path:
        """Let the run finish; return its directory."""
        with self._started(place) as process:
            code = process.wait()
        if code != 0:
            lines = self._printed(place).strip().splitlines()
            said = lines[-1].rstrip(".") if lines else f"exit code {code}"
            raise UserError("gradinc train", f"does not finish: {said}", "Try it without gradinc drill first")
        (run,) = (self.scratch / place).iterdir()
        return run

    def _kill(self, place: str, after: float, every: float) -> bool:
        """Kill the run some seconds after it has begun to train; return False if it ended before."""
        with self._started(place, f"checkpoint.seconds={every:.3f}") as process:
            while not self._trains(place):
                if process.poll() is not None:
                    return False
                time.sleep(POLL)
            self._seconds_alive = after
            with suppress(subprocess.TimeoutExpired):
                process.wait(after)
            return process.poll() is None

    def _trains(self, place: str) -> bool:
        return any(living_owner(run) is not None for run in (self.scratch / place).glob("*"))

    @contextmanager
    def _started(self, place: str, *more: str) -> Iterator[subprocess.Popen[bytes]]:
        """Start a process with the words, and kill it and its children at the end of the block."""
        words = [sys.executable, "-m", "gradinc", "train", *self.words, *more, f"output={self.scratch / place}"]
        words += ["fresh=false", "progress=plain", "track=[]"]
        with open(self.scratch / f"{place}.txt", "wb") as printed:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=printed, stderr=subprocess.STDOUT, start_new_session=True
            )
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _printed(self, place: str) -> str:
        return (self.scratch / f"{place}.txt").read_text(encoding="utf-8", errors="replace")
