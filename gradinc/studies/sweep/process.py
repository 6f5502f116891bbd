"""One worker process of a sweep: it receives jobs, reports progress, and is replaced after a crash."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gradinc.config.catalog import PACKAGE
from gradinc.studies.sweep.fork import Forked, can_fork
from gradinc.studies.sweep.gpus import dealt
from gradinc.studies.sweep.shipment import Ending, Shipment
from gradinc.studies.sweep.worker import Loaded, load_all

_LOOKED_EVERY = 0.1
"""Seconds between two checks for a request to stop the sweep."""

START = (
    f"import sys; root = {str(PACKAGE.parent)!r}; root in sys.path or sys.path.insert(0, root); "
    "from gradinc.studies.sweep.worker import serve; serve(folders=sys.argv[1:])"
)

Tell = Callable[[dict[str, Any]], None]
"""Receives a worker's reports of its job: ``begun``, ``share`` and ``numbers``, or a ``warning``."""


def start_workers(n_jobs: int, devices: Sequence[str]) -> list[Worker]:
    """Return workers for jobs on this machine, forked from this process if that is safe.

    Args:
        n_jobs: jobs at a time, as joblib counts them.
        devices: ``device=`` of each job.
    """
    import joblib

    count = min(joblib.effective_n_jobs(n_jobs), len(devices))
    workers = [Worker(environment) for environment in dealt(count, devices)]
    if workers and can_fork():
        loaded = load_all()
        for worker in workers if loaded.alone else ():
            worker.fork(loaded)
    return workers


class Worker:
    """A slot for one job at a time.

    The process is not in the terminal's group: Ctrl-C reaches the sweep, and the sweep asks its workers to stop.

    Args:
        environment: additional variables of its processes, such as a GPU of their own.
    """

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | Forked | None = None
        self._printed = tempfile.TemporaryFile()  # noqa: SIM115  (it lives as long as the worker)
        self._rest = b""

    def fork(self, loaded: Loaded) -> None:
        """Start the first process as a copy of this one.

        Args:
            loaded: result of `gradinc.studies.sweep.worker.load_all`.
        """
        self._process = Forked(self._printed.fileno(), self._environment, loaded)

    def run(self, shipment: Shipment, tell: Tell, stop: Callable[[], int]) -> Ending:
        """Run one job, and report its result even if the process crashes.

        Args:
            shipment: the job.
            tell: called with the worker's reports.
            stop: the number of the signal that stops the sweep, or 0.
        """
        begun = time.monotonic()
        process = self._started(shipment.folders)
        assert process.stdin is not None
        before = os.fstat(self._printed.fileno()).st_size
        with suppress(BrokenPipeError):
            process.stdin.write(shipment.line())
            process.stdin.flush()
        stopped = begun_there = False
        while True:
            message = self._message(process)
            if message is not None and "ended" in message:
                return Ending(**message["ended"], seconds=time.monotonic() - begun)
            if message is not None:
                begun_there = True
                tell(message)
            elif (code := process.poll()) is not None:
                self._process = None
                words, seconds = self._last_words(before), time.monotonic() - begun
                if not begun_there and not stop():
                    end = _last_line(words) or _died(code, 0, seconds).line
                    return Ending(1, f"the worker could not start: {end}", seconds=seconds)
                _keep(words, shipment.path)
                return _died(code, stop(), seconds)
            if not stopped and (number := stop()):
                stopped = True
                with suppress(BrokenPipeError):
                    process.stdin.write(json.dumps({"stop": number}).encode() + b"\n")
                    process.stdin.flush()

    def save(self, number: int, seconds: float) -> None:
        """Make the job save and stop, and wait for it: for a signal handler that does not return to `run`."""
        process, end = self._process, time.monotonic() + seconds
        if process is None or process.stdin is None:
            return
        with suppress(BrokenPipeError):
            os.write(process.stdin.fileno(), json.dumps({"stop": number}).encode() + b"\n")
        while process.poll() is None and time.monotonic() < end:
            if "ended" in (self._message(process) or {}):
                return

    def close(self) -> None:
        """End the idle process."""
        if self._process is not None:
            assert self._process.stdin is not None
            with suppress(BrokenPipeError):
                self._process.stdin.close()
            self._process.wait()
        self._printed.close()

    def _started(self, folders: Sequence[str]) -> subprocess.Popen[bytes] | Forked:
        if self._process is not None and self._process.poll() is not None:
            self._process = None
        if self._process is None:
            self._rest = b""
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, *folders],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._printed,
                process_group=0,
                env=self._environment,
            )
        return self._process

    def _message(self, process: subprocess.Popen[bytes] | Forked) -> dict[str, Any] | None:
        """Return the worker's next report, or None after a short wait."""
        assert process.stdout is not None
        if b"\n" not in self._rest:
            over = process.poll() is not None
            ready, _, _ = select.select([process.stdout], [], [], 0 if over else _LOOKED_EVERY)
            content = os.read(process.stdout.fileno(), 1 << 16) if ready else b""
            if ready and not content and not over:
                time.sleep(0.01)  # it has closed its pipe and is about to end
            self._rest += content
        line, newline, rest = self._rest.partition(b"\n")
        if not newline:
            return None
        self._rest = rest
        message: dict[str, Any] = json.loads(line)
        return message

    def _last_words(self, before: int) -> bytes:
        """Return the text that the process printed during its last job."""
        self._printed.seek(before)
        words = self._printed.read()
        self._printed.seek(0, os.SEEK_END)
        return words


def _keep(words: bytes, directory: Path) -> None:
    """Store the error of a crashed process in its run's directory."""
    if words and (directory / "config.yaml").exists():
        with suppress(OSError):
            (directory / "error.log").write_bytes(words)


def _last_line(words: bytes) -> str:
    return (words.decode(errors="replace").strip().splitlines() or [""])[-1]


def _died(code: int, stopping: int, seconds: float) -> Ending:
    if stopping:
        return Ending(128 + stopping, seconds=seconds)
    if code < 0:
        death = f"killed by {signal.Signals(-code).name}"
        fix = ", perhaps by the system because memory ran out" if code == -signal.SIGKILL else ""
        return Ending(1, death + fix, death, seconds)
    return Ending(code or 1, f"left by os._exit({code})", f"exited with {code}", seconds)
