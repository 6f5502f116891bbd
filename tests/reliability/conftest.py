"""What the reliability tests share: one process that forks, and folders to run in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from lives import Nursery


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    nursery = Nursery(tmp_path_factory.mktemp("printed"))
    yield nursery
    nursery.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An empty folder for a run."""
    path = tmp_path / "here"
    path.mkdir()
    return path
