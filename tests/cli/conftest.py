"""Running the command line in an empty directory."""

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
    """What a command did."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def gradinc(empty: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line in this process."""

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


@pytest.fixture
def environment() -> dict[str, str]:
    return ENVIRONMENT


@pytest.fixture
def process(empty: Path) -> Command:
    """The command line in a process of its own."""

    def run(*arguments: str) -> Outcome:
        words = [sys.executable, "-m", "gradinc", *arguments]
        done = subprocess.run(words, capture_output=True, text=True, cwd=empty, env=ENVIRONMENT)
        return Outcome(done.returncode, done.stdout, done.stderr)

    return run
