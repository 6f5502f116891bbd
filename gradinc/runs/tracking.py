"""The trackers of a run: a process for each, which reads the run's directory. The training never waits for one."""

from __future__ import annotations

import json
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
from typing import cast

from gradinc.base.errors import UserError
from gradinc.config.catalog import PACKAGE, load_part
from gradinc.config.names import written
from gradinc.config.parts_folder import used_folders, with_options
from gradinc.records.tracker import Tracker
from gradinc.runs.display import Display

_PATIENCE = 5.0
"""Seconds without a sign of life after which the end of a run no longer waits for a tracker."""

_LONGEST_WAIT = 20.0
"""Seconds that the end of a run waits for a tracker that is still sending."""

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
    tracker = cast(type[Tracker], load_part("tracker", name, where))
    for package in tracker.packages:
        if find_spec(package) is None:
            extra = f"'gradinc[{tracker.extra}]'" if tracker.extra else package
            raise UserError(where, f"needs the package {package}", f"pip install {extra}")


@contextmanager
def tracked(names: Sequence[str], run: Path, display: Display) -> Iterator[None]:
    """Send the numbers of a run to trackers while it is trained inside."""
    followers = []
    try:
        for name in names:
            try:
                followers.append(_Follower(name, run, display))
            except OSError as error:  # no memory for another process
                display.warn(f"track={name} cannot be started: {error.strerror}")
        yield
    finally:
        for follower in followers:
            follower.finish()
        for follower in followers:
            follower.wait()


class _Follower:
    """The process of a tracker."""

    def __init__(self, name: str, run: Path, display: Display) -> None:
        self._name, self._run, self._display = name, run, display
        self._left = False
        self._sign = time.monotonic()
        folders = [str(folder.path) for folder in used_folders()]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", _START, name, str(run), *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            process_group=0,
        )
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def finish(self) -> None:
        """The run has ended: everything that its files have can be sent."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()

    def wait(self) -> None:
        """Wait until everything is sent, unless the tracker does not answer."""
        until = time.monotonic() + _LONGEST_WAIT
        while self._listener.is_alive():
            left = min(self._sign + _PATIENCE, until) - time.monotonic()
            if left <= 0:
                self._left = True
                self._warn("has not taken all numbers yet, and goes on without this command for 10 minutes. Then")
                return
            self._listener.join(left)

    def _listen(self) -> None:
        """Read the process's signs of life, and report its failure at once."""
        assert self._process.stdout is not None
        text = b""
        while content := os.read(self._process.stdout.fileno(), 1 << 16):
            self._sign = time.monotonic()
            text = (text + content).lstrip(b"\n")
        code = self._process.wait()
        if code and not self._left:
            died = f"ended with {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
            self._warn(f"failed: {json.loads(text) if text else died}. The run does not depend on it;")

    def _warn(self, what: str) -> None:
        rest = shlex.join(["gradinc", "export", str(self._run), "--track", self._name, *with_options()])
        self._display.warn(f"track={self._name} {what} {rest} sends the rest.")
