from __future__ import annotations

from pathlib import Path

import pytest
from lab import Lab
from lives import Nursery


@pytest.fixture
def lab(tmp_path: Path, nursery: Nursery) -> Lab:
    lab = Lab(tmp_path, nursery)
    lab.install()
    return lab
