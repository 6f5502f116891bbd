"""Folders to sweep in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from planted_sweeps import PLANTED, Sweeps

from gradinc.config.catalog import PACKAGE


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another package, with the method and a strategy for it."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "planted.py").write_text(PLANTED)
    info = folder / "planted-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: planted\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[gradinc.methods]\nplanted = planted\n")
    (folder / "conf" / "strategy").mkdir(parents=True)
    (folder / "conf" / "strategy" / "planted.yaml").write_text("# Fails\nmethods:\n  planted: {how: 'not'}\n")
    return folder


@pytest.fixture
def sweeps(tmp_path: Path, elsewhere: Path) -> Callable[..., Sweeps]:
    """Makes folders to sweep in."""

    def make(name: str = "here", program: Path = PACKAGE.parent) -> Sweeps:
        (tmp_path / name).mkdir()
        return Sweeps(tmp_path / name, elsewhere, program)

    return make
