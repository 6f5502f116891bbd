"""A tracker's own process: it reads the files of a run as they grow, and sends what is final to the tracker.

A number is final if no restart can cut it off: a checkpoint was written after its update, or the run has ended. So a
tracker never has a number that the run does not have, whenever either of them is killed.
"""

from __future__ import annotations

import json
import math
import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock

from gradinc.base.errors import UserError
from gradinc.base.files import open_plain
from gradinc.config.catalog import load_part
from gradinc.config.parts_folder import use_folders
from gradinc.records.curves import Clock
from gradinc.records.logged_rows import all_rows, as_rows, result_lines
from gradinc.records.recorded import RecordedRun
from gradinc.records.schemas import ENDED, read_result
from gradinc.records.tracker import LoggedRow, Tracker

_LOOKED_EVERY = 0.5
"""Seconds between two looks at the run's files."""

_LONGEST = 600.0
"""Seconds after the end of the run in which a tracker must finish."""

_MOST_ROWS = 500
"""Largest number of rows that are sent at a time."""

_MARK = re.compile(r"(\d{1,18})(?:\+\d{1,18})?")
"""Name of a checkpoint: the number of updates, and of micro-batches of the next one."""


def export(run: RecordedRun, name: str) -> int:
    """Send what a tracker does not have yet of a run that is not running; return the number of rows.

    Raises:
        UserError: the tracker failed.
    """
    try:
        with _alone(run.path, name):
            tracker = _tracker(name)
            last = tracker.open(run)
            rows = [row for row in all_rows(run) if row.step > last]
            for sent in _pieces(rows):
                tracker.log(sent)
            tracker.close(run.status)
            return len(rows)
    except Exception as error:
        raise UserError(f"--track {name}", f"failed for {run.name}: {reason(error)}") from error


def follow(path: Path, name: str, over: threading.Event, alive: Callable[[], None]) -> None:
    """Send the rows of a run until it is over.

    Args:
        path: the run's directory.
        name: the tracker.
        over: set when the run's process has ended, or is about to.
        alive: called often, as a sign that the tracker answers.
    """
    with _alone(path, name):
        tracker = _tracker(name)
        log, last = _Log(path), tracker.open(RecordedRun.open(path))
        while True:
            last_look = over.is_set()
            for sent in _pieces([row for row in log.rows() if row.step > last]):
                tracker.log(sent)
                last = sent[-1].step
                alive()
            if last_look:
                break
            alive()
            over.wait(_LOOKED_EVERY)
        tracker.close(RecordedRun.open(path).status)


def follow_alone() -> None:
    """Follow a run, as `gradinc.runs.tracking` starts it: its arguments are the tracker, the run and folders of parts.

    Standard input ends with the run. Each line of standard output is a sign of life, or the reason of a failure.
    """
    name, path, *folders = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # they are meant for the run, which ends first
        signal.signal(number, signal.SIG_IGN)
    os.nice(5)  # the training comes first
    run, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # a tracker must not ask or print
        os.dup2(nothing, stream)
    over = threading.Event()
    threading.Thread(target=_watch, args=(run, os.getppid(), over), daemon=True).start()

    def answer(text: str = "") -> None:
        with suppress(OSError):  # the run has ended
            os.write(answers, text.encode() + b"\n")

    code = 0
    try:
        use_folders(folders)
        follow(Path(path), name, over, answer)
    except BaseException as error:
        answer(json.dumps(reason(error)))
        code = 1
    os._exit(code)  # whatever a tracker has left to do at exit may never end


def reason(error: BaseException) -> str:
    """Return an error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


class _Log:
    """The final rows of a run whose files grow."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._metrics, self._timing = _Growing(path / "metrics.jsonl"), _Growing(path / "timing.jsonl")
        self._clock = Clock()
        self._waiting: list[dict[str, Any]] = []

    def rows(self) -> list[LoggedRow]:
        """Return the rows that have become final since the last call."""
        result = read_result(self._path / "result.json")
        ended = result is not None and result["status"] in ENDED
        bound = math.inf if ended else self._saved()
        self._waiting += self._metrics.lines()
        self._clock.extend(self._timing.lines(), "clock")
        count = next((n for n, line in enumerate(self._waiting) if line["step"] >= bound), len(self._waiting))
        final, self._waiting = self._waiting[:count], self._waiting[count:]
        return as_rows([*final, *(result_lines(result) if ended and result else [])], self._clock)

    def _saved(self) -> int:
        """Return the updates of the newest checkpoint. Lines of this update may follow the checkpoint."""
        try:
            names = os.listdir(self._path / "ckpt")
        except OSError:
            return 0
        return max((int(mark[1]) for name in names if (mark := _MARK.fullmatch(name))), default=0)


class _Growing:
    """A file of JSON lines, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0

    def lines(self) -> list[dict[str, Any]]:
        """Return the whole lines that are new."""
        try:
            with open_plain(self._path) as file:
                file.seek(self._read)
                content = file.read()
        except FileNotFoundError:
            return []
        end = content.rfind(b"\n") + 1
        self._read += end
        return [json.loads(line) for line in content[:end].splitlines()]


def _tracker(name: str) -> Tracker:
    tracker: Tracker = load_part("tracker", name)()
    return tracker


def _pieces(rows: list[LoggedRow]) -> Iterator[list[LoggedRow]]:
    for first in range(0, len(rows), _MOST_ROWS):
        yield rows[first : first + _MOST_ROWS]


@contextmanager
def _alone(path: Path, name: str) -> Iterator[None]:
    """Wait for the tracker of an earlier start of the run, which may still be sending."""
    with filelock.FileLock(path / f".{name}.lock", timeout=_LONGEST):
        yield


def _watch(run: int, parent: int, over: threading.Event) -> None:
    """Notice the end of the run, and end this process if the tracker does not end it in time."""
    while os.getppid() == parent and not select.select([run], [], [], _LOOKED_EVERY)[0]:
        pass
    over.set()
    time.sleep(_LONGEST)
    os._exit(1)
