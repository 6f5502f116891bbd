"""Worker processes as copies of the sweep's own process, which has imported torch once for all of them.

Only a process without other threads can be copied safely: in the copy, locks that they hold stay held. So workers are
forked right after the import, before the sweep computes, shows or starts anything. A worker that later replaces a
crashed one is a new Python.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Mapping
from typing import NoReturn

from gradinc.config.catalog import PACKAGE
from gradinc.studies.sweep.worker import Loaded, serve


def can_fork() -> bool:
    """Return whether a copy of this process is safe once it has imported what jobs need.

    The copy is safe if no other thread runs and torch has not computed anything.
    """
    alone = threading.active_count() == 1 and threading.current_thread() is threading.main_thread()
    return sys.platform == "linux" and "torch" not in sys.modules and alone


class Forked:
    """A forked worker, with the attributes and methods of `subprocess.Popen` that a sweep uses.

    Args:
        printed: descriptor of the file that receives what it prints.
        environment: its environment.
        loaded: result of `gradinc.studies.sweep.worker.load_all`.
    """

    def __init__(self, printed: int, environment: Mapping[str, str], loaded: Loaded) -> None:
        self.returncode: int | None = None
        requests, own_end = os.pipe()
        other_end, answers = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        # Python may warn about OpenBLAS's idle threads; OpenBLAS itself stops and restarts them around a fork.
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
            self.pid = os.fork()
        if not self.pid:
            _serve(requests, answers, printed, environment, loaded)
        os.close(requests)
        os.close(answers)
        self.stdin, self.stdout = os.fdopen(own_end, "wb"), os.fdopen(other_end, "rb", buffering=0)

    def poll(self) -> int | None:
        """Return the exit code, or minus the signal's number, or None while the process runs."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        """Wait for the end."""
        code = self._wait(0)
        assert code is not None
        return code

    def _wait(self, options: int) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def _serve(requests: int, answers: int, printed: int, environment: Mapping[str, str], loaded: Loaded) -> NoReturn:
    """Serve as worker in the copy, with its own streams, signals, group and environment, without the sweep's files."""
    try:
        os.setpgid(0, 0)
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        mine = [fcntl.fcntl(each, fcntl.F_DUPFD, 3) for each in (requests, answers, printed)]  # none is 0, 1 or 2
        for standard, each in enumerate(mine):
            os.dup2(each, standard)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        sys.stdin = os.fdopen(0)
        sys.stdout, sys.stderr = (os.fdopen(each, "w", buffering=1, errors="backslashreplace") for each in (1, 2))
        os.environ.clear()
        os.environ.update(environment)
        if not sys.flags.safe_path:  # a new Python would have -P, too
            del sys.path[0]
        if (root := str(PACKAGE.parent)) not in sys.path:
            sys.path.insert(0, root)
        serve(loaded)
    except BaseException:
        traceback.print_exc()
    os._exit(1)
