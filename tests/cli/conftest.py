"""The command line in an empty directory below the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import ENVIRONMENT, Command, in_own_process


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory."""
    folder = tmp_path / "empty"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def environment() -> dict[str, str]:
    return ENVIRONMENT


@pytest.fixture
def process(empty: Path) -> Command:
    """The command line in a process of its own."""
    return in_own_process(empty)
