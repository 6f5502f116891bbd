"""Sweeps in processes of their own, with a method from another package that makes jobs fail in every way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from gradinc.config.catalog import PACKAGE

PLANTED = '''
import os, resource, signal, sys, time
from typing import Literal
from gradinc.core.method import Method

class Planted(Method):
    """Fails in its second update

    Args:
        how: in which way.
    """

    def __init__(
        self, *, how: Literal["not", "raise", "exit", "leave", "kill", "memory", "slow", "pause", "gpu"] = "not"
    ) -> None:
        self.how = how

    def transform(self, g, learner):
        if self.how == "slow":
            time.sleep(0.05)
        if learner.updates < 1:
            return
        if self.how == "gpu":
            open("gpu." + os.environ.get("CUDA_VISIBLE_DEVICES", "all"), "w").close()
            time.sleep(0.2)
        if self.how == "pause" and not os.path.exists("go"):
            open("paused", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.01)
        if self.how == "raise":
            raise RuntimeError("planted [red]\\x1b[31m")
        if self.how == "exit":
            sys.exit(0)
        if self.how == "leave":
            os._exit(0)
        if self.how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.how == "memory":
            limits = resource.getrlimit(resource.RLIMIT_AS)
            resource.setrlimit(resource.RLIMIT_AS, (1 << 28, limits[1]))
            try:
                bytearray(1 << 33)
            finally:
                resource.setrlimit(resource.RLIMIT_AS, limits)
'''

TINY = (
    "model=linear",
    "data.batch_size=100",
    "budget.steps=4",
    "log.steps=1",
    "checkpoint.seconds=0",
    "dtype=float64",
)


class Sweeps:
    """Starts ``gradinc`` in a folder, with the planted method at hand."""

    def __init__(self, folder: Path, elsewhere: Path, program: Path = PACKAGE.parent) -> None:
        self.folder = folder
        self._flags = ("--config-dir", str(elsewhere / "conf"))
        path = os.pathsep.join((str(program), str(elsewhere)))
        self.environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-P", "-m", "gradinc", *arguments[:1], *self._flags, *arguments[1:]]
        return subprocess.Popen(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=self.environment,
            start_new_session=True,
        )

    def run(self, *arguments: str) -> tuple[int, str]:
        """The exit code and what was printed."""
        process = self.start(*arguments)
        out, _ = process.communicate(timeout=300)
        return process.returncode, out
