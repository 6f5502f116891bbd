"""A tracker's own process: it reads the files of a run as they grow, and sends what is final to the tracker.

A number is final if no restart can cut it off: a checkpoint was written after its update, or the run has ended. So a
tracker never has a number that the run does not have, whenever either of them is killed. The process outlives the run:
it ends when it has sent the last number. A lock keeps the processes of two starts of a run apart.
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
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import filelock

from gradinc.base.errors import UserError
from gradinc.base.files import open_plain
from gradinc.base.text import print_warnings
from gradinc.config.catalog import load_part
from gradinc.config.parts_folder import use_folders
from gradinc.records.curves import Clock
from gradinc.records.logged_rows import all_rows, as_rows, result_lines
from gradinc.records.recorded import RecordedRun
from gradinc.records.schemas import ENDED, read_result
from gradinc.records.tracker import LoggedRow, Tracker, lock_of, log_of

_LOOKED_EVERY = 0.5
"""Seconds between two looks at the run's files."""

LONGEST = 600.0
"""Seconds without progress after which the process of a tracker ends, once the run has ended."""

_MOMENT = 1.0
"""Seconds of waiting for another process of the tracker before the waiting is reported."""

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
        with _alone(run.path, name, print_warnings):
            tracker = _tracker(name)
            last = tracker.open(run)
            rows = [row for row in all_rows(run) if row.step > last]
            for sent in _pieces(rows):
                tracker.log(sent)
            tracker.close(run.status)
            return len(rows)
    except Exception as error:
        raise UserError(f"--track {name}", f"failed for {run.name}: {reason(error)}") from error


def follow(path: Path, name: str, over: threading.Event, progress: threading.Event) -> None:
    """Send the rows of a run until it is over.

    Args:
        path: the run's directory.
        name: the tracker.
        over: set when the run's process has ended, or is about to.
        progress: set each time that the tracker has taken something.
    """
    with _alone(path, name, _note):
        tracker = _tracker(name)
        log, last = _Log(path), tracker.open(RecordedRun.open(path))
        _note([f"opened with rows up to step {last}" if last >= 0 else "opened without rows"])
        while True:
            progress.set()
            last_look = over.is_set()
            for sent in _pieces([row for row in log.rows() if row.step > last]):
                tracker.log(sent)
                last = sent[-1].step
                progress.set()
            if last_look:
                break
            over.wait(_LOOKED_EVERY)
        tracker.close(RecordedRun.open(path).status)
        _note([f"everything is sent, up to step {last}"])


def follow_alone() -> None:
    """Follow a run, as `gradinc.runs.tracking` starts it: its arguments are the tracker, the run and folders of parts.

    Standard input ends with the run. Standard output receives the reason of a failure, and standard error is the log.
    """
    name, path, *folders = sys.argv[1:]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):  # meant for the run, which ends first
        signal.signal(number, signal.SIG_IGN)
    os.nice(10)  # the training comes first
    run, answers = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # a tracker must not ask
    os.dup2(2, 1)
    over, progress = threading.Event(), threading.Event()
    threading.Thread(target=_watch, args=(run, os.getppid(), over, progress), daemon=True).start()
    code = 0
    try:
        use_folders(folders)
        follow(Path(path), name, over, progress)
    except BaseException as error:
        _note(["failed", *traceback.format_exc().splitlines()])
        with suppress(OSError):  # the run has ended
            os.write(answers, reason(error).encode())
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

    def rows(self) -> list[LoggedRow]:
        """Return the rows that have become final since the last call."""
        result = read_result(self._path / "result.json")
        ended = result is not None and result["status"] in ENDED
        bound = math.inf if ended else self._saved()
        final = self._metrics.lines(bound)
        self._clock.extend(self._timing.lines(), "clock")
        return as_rows([*final, *(result_lines(result) if ended and result else [])], self._clock)

    def _saved(self) -> int:
        """Return the updates of the newest checkpoint. Lines of this update may follow the checkpoint."""
        try:
            names = os.listdir(self._path / "ckpt")
        except OSError:
            return 0
        return max((int(mark[1]) for name in names if (mark := _MARK.fullmatch(name))), default=0)


class _Growing:
    """A file of JSON lines, read as it grows. Of a file that ``fresh=true`` has replaced it reads the old content."""

    def __init__(self, path: Path) -> None:
        self._path, self._read = path, 0
        self._file: BinaryIO | None = None

    def lines(self, before: float = math.inf) -> list[dict[str, Any]]:
        """Return the whole lines that are new, up to the first of the update `before` or of a later one.

        The lines after it are read again the next time: a restart may replace them.
        """
        if self._file is None:
            try:
                self._file = open_plain(self._path)
            except FileNotFoundError:
                return []
        number = self._file.fileno()
        content = os.pread(number, max(0, os.fstat(number).st_size - self._read), self._read)
        found = []
        for text in content[: content.rfind(b"\n") + 1].splitlines(keepends=True):
            line = json.loads(text)
            if line["step"] >= before:
                break
            self._read += len(text)
            found.append(line)
        return found


def _tracker(name: str) -> Tracker:
    tracker: Tracker = load_part("tracker", name)()
    return tracker


def _pieces(rows: list[LoggedRow]) -> Iterator[list[LoggedRow]]:
    for first in range(0, len(rows), _MOST_ROWS):
        yield rows[first : first + _MOST_ROWS]


@contextmanager
def _alone(path: Path, name: str, tell: Callable[[list[str]], None]) -> Iterator[None]:
    """Wait for the process of an earlier start of the run, which may still be sending. It ends, see `LONGEST`."""
    lock = filelock.FileLock(path / lock_of(name))
    try:
        lock.acquire(timeout=_MOMENT)
    except filelock.Timeout:
        tell([f"waiting for the process that still sends {path} to {name}; its log is {path / log_of(name)}"])
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _note(lines: list[str]) -> None:
    when = time.strftime("%Y-%m-%d %H:%M:%S")
    with suppress(OSError):  # a full disk
        os.write(2, "".join(f"{when} {line}\n" for line in lines).encode(errors="backslashreplace"))


def _watch(run: int, parent: int, over: threading.Event, progress: threading.Event) -> None:
    """Notice the end of the run, and end this process if the tracker takes nothing any more."""
    while os.getppid() == parent and not select.select([run], [], [], _LOOKED_EVERY)[0]:
        pass
    over.set()
    progress.clear()
    while progress.wait(LONGEST):
        progress.clear()
    _note([f"ended: no progress in {LONGEST / 60:.0f} minutes"])
    os._exit(1)
