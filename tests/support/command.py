"""The command line, called in this process or in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from gradinc.cli.main import main
from gradinc.config.catalog import PACKAGE

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
"""For processes that run in another directory: this gradinc, whether it is installed or not."""


@dataclass(frozen=True)
class Outcome:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


def in_process(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line in this process."""

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


def in_own_process(folder: Path) -> Command:
    """The command line in a process that runs in a folder."""

    def run(*arguments: str) -> Outcome:
        words = [sys.executable, "-m", "gradinc", *arguments]
        done = subprocess.run(words, capture_output=True, text=True, cwd=folder, env=ENVIRONMENT, check=False)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run
