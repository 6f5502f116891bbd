from __future__ import annotations

from pathlib import Path

import pytest
from lab import Lab
from lives import Nursery


@pytest.fixture(params=[True, False], ids=["installed", "folder"])
def lab(tmp_path: Path, nursery: Nursery, request: pytest.FixtureRequest) -> Lab:
    lab = Lab(tmp_path, nursery, request.param)
    lab.build()
    return lab
