"""What the tests of data share: the data section of a config, and folders of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from idx_files import idx_bytes, write_mnist
from PIL import Image

from gradinc.config.schema import DataSection

SECTION_KEYS = set(DataSection.__dataclass_fields__)


@pytest.fixture
def section() -> Callable[..., DataSection]:
    """The data section with its defaults; keys that it does not have are options of the set."""

    def make(name: str, **values: Any) -> DataSection:
        common = {key: value for key, value in values.items() if key in SECTION_KEYS}
        options = {key: value for key, value in values.items() if key not in SECTION_KEYS}
        return DataSection(name=name, **common, options=options)

    return make


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Writes a folder of PNG files of random colour images, 3 classes with `count` each, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(count: int = 8, size: tuple[int, int] = (6, 5), channels: int = 3, below: str = "") -> Path:
        random = np.random.default_rng(0)
        for name in ("cat", "dog", "owl"):
            folder = tmp_path / "pictures" / below / name
            folder.mkdir(parents=True)
            for number in range(count):
                shape = (size[1], size[0], 3) if channels == 3 else (size[1], size[0])
                Image.fromarray(random.integers(0, 256, shape, np.uint8)).save(folder / f"{number:02}.png")
        return tmp_path / "pictures"

    return make


@pytest.fixture
def idx() -> Callable[[np.ndarray], bytes]:
    """The bytes of an IDX file that holds an array of uint8."""
    return idx_bytes


@pytest.fixture
def mnist_folder(tmp_path: Path) -> Callable[..., Path]:
    """Writes the four files of a small relative of MNIST: 40 training and 20 test images of 4x4 pixels."""

    def make(folder: str = "idx", compressed: bool = True) -> Path:
        return write_mnist(tmp_path / folder, compressed=compressed)

    return make
