"""A small run that saves often: one that was killed in its first epoch, and the outcome of one that was not."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from lives import SMALL, Nursery, only_run, outcome


@pytest.fixture(scope="module")
def half(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was killed in its first epoch."""
    folder = tmp_path_factory.mktemp("half")
    assert nursery.run(folder, *SMALL, crash="pruned:4").code == -signal.SIGKILL
    return folder


@pytest.fixture(scope="module")
def wanted(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    assert nursery.run(folder, *SMALL).code == 0
    return outcome(only_run(folder))
