"""Fixtures of all tests: the command line in an empty directory, and processes that can be killed."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # each of hundreds of processes would compile gradinc again

from command import Command, in_process
from lives import Nursery
from written_runs import write_run


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def denormals() -> Iterator[None]:
    """Denormal numbers again after a command in this process, which takes them for 0: Hypothesis needs them."""
    yield
    if "torch" in sys.modules:
        sys.modules["torch"].set_flush_denormal(False)


@pytest.fixture
def gradinc(empty: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line in this process, in the empty directory."""
    return in_process(capsys)


@pytest.fixture
def written(empty: Path) -> Callable[..., Path]:
    """A function that writes a run under ``outputs``."""
    return lambda name, **changes: write_run(empty / "outputs", name, **changes)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """One process that has imported everything, and forks."""
    nursery = Nursery(tmp_path_factory.mktemp("printed"))
    yield nursery
    nursery.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for a run."""
    path = tmp_path / "here"
    path.mkdir()
    return path
