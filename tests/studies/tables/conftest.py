"""A small table and its runs."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from small_table import DOCUMENT, write_table

from gradinc.cli.main import main


@pytest.fixture
def document() -> dict[str, Any]:
    """A copy of the small table, to be changed."""
    return copy.deepcopy(DOCUMENT)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The small table's runs, trained once: a folder with ``conf`` and ``outputs``."""
    folder = tmp_path_factory.mktemp("table")
    write_table(folder / "conf", DOCUMENT)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        # Exit code 1: what is printed for the fast row is planted, and differs.
        assert main(["--quiet", "table", "tiny", "--config-dir", "conf", "device=cpu"]) == 1
        yield folder
