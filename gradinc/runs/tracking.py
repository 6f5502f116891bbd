"""The trackers of a run: a process for each, which reads the run's directory. The run never depends on one."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.config.catalog import PACKAGE, part
from gradinc.config.names import written
from gradinc.config.parts_folder import used_folders, with_options
from gradinc.records.lock import is_held
from gradinc.records.tracker import lock_of, log_of
from gradinc.runs.display import Display

_MOMENT = 1.0
"""Seconds that the end of a run gives its trackers to send the last numbers."""

_START = (
    f"import sys; root = {str(PACKAGE.parent)!r}; root in sys.path or sys.path.insert(0, root); "
    "from gradinc.records.follow import follow_alone; follow_alone()"
)


def check_trackers(names: Sequence[str]) -> None:
    """Check that a run's trackers exist and that their packages are installed.

    Raises:
        UserError: a tracker does not exist or is named twice, or a package is missing.
    """
    for name in names:
        check_tracker(name, written("track", name))
    if len(set(names)) < len(names):
        raise UserError(written("track", names), "has a name twice", "Write each name once")


def check_tracker(name: str, where: str) -> None:
    """Check one tracker.

    Args:
        where: the choice as messages name it.

    Raises:
        UserError: as `check_trackers`.
    """
    tracker = part("tracker", name, where)  # it is imported by its own process only
    extra = tracker.written("extra")
    for package in tracker.written("packages") or ():
        if find_spec(package) is None:
            known = f"'gradinc[{extra}]'" if extra else package
            raise UserError(where, f"needs the package {package}", f"pip install {known}")


@contextmanager
def tracked(names: Sequence[str], run: Path, display: Display) -> Iterator[None]:
    """Send the numbers of a run to trackers while it is trained inside."""
    followers = []
    try:
        for name in names:
            try:
                followers.append(_Follower(name, run, display))
            except OSError as error:  # no memory for another process, or no space for its log
                display.warn(f"track={name} cannot be started: {error.strerror}")
        yield
    finally:
        for follower in followers:
            follower.finish()
        until = time.monotonic() + _MOMENT
        left = [follower.name for follower in followers if not follower.has_ended(until - time.monotonic())]
        if left:
            display.say(_sending(left, [run]))


def still_sending(names: Sequence[str], runs: Sequence[Path]) -> str | None:
    """Return a line about trackers that still send numbers of runs which have ended, or None."""
    left = [run for run in runs if any(is_held(run, lock_of(name)) for name in names)]
    return (
        _sending([name for name in names if any(is_held(run, lock_of(name)) for run in left)], left) if left else None
    )


def _sending(names: Sequence[str], runs: Sequence[Path]) -> str:
    several = f" of {len(runs)} runs" if len(runs) > 1 else ""
    return (
        f"The last numbers{several} are still being sent to {' and '.join(names)} (log: {runs[0] / log_of(names[0])}). "
        f"If this process is stopped: {_rest(runs, names)}"
    )


def _rest(runs: Sequence[Path], names: Sequence[str]) -> str:
    """Return the command that sends what trackers do not have."""
    where = runs if len(runs) < 2 else sorted({run.parent for run in runs})
    return shlex.join(["gradinc", "export", *map(str, where), "--track", ",".join(names), *with_options()])


class _Follower:
    """The process of a tracker. It is in a session of its own: it outlives the run, its terminal and its process group.

    Attributes:
        name: the tracker.
    """

    def __init__(self, name: str, run: Path, display: Display) -> None:
        self.name, self._run, self._display = name, run, display
        self._left = False
        folders = [str(folder.path) for folder in used_folders()]
        log = os.open(run / log_of(name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o666)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", _START, name, str(run), *folders],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                bufsize=0,
                start_new_session=True,
            )
        finally:
            os.close(log)
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def finish(self) -> None:
        """The run has ended: everything that its files have can be sent."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(b"\n")  # a forked process may have the other end of the pipe, too
            self._process.stdin.close()

    def has_ended(self, seconds: float) -> bool:
        """Wait at most this long for the process; return whether it has ended. It is left alone if not."""
        self._listener.join(max(0.0, seconds))
        self._left = self._listener.is_alive()
        return not self._left

    def _listen(self) -> None:
        """Report a failure at once."""
        assert self._process.stdout is not None
        text = self._process.stdout.read().decode(errors="replace")
        code = self._process.wait()
        if code and not self._left:
            died = f"ended with {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            log = self._run / log_of(self.name)
            self._display.warn(
                f"track={self.name} failed: {text or died} (log: {log}). The run does not depend on it; "
                f"{_rest([self._run], [self.name])} sends the rest."
            )
