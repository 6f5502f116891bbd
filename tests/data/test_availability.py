"""Listings know where each set is without importing what they don't need."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gradinc.base.errors import UserError
from gradinc.config import catalog
from gradinc.data.availability import availability, prepare_data

SETS = [part.name for part in catalog.parts("data")]


def test_every_set_is_known() -> None:
    for name in SETS:
        found = availability(name)
        assert found.how != "from another package"
        assert found.here == bool(found.where)
    assert availability("none_such").how == "from another package"


def test_looking_imports_neither_torch_nor_numpy_nor_scikit_learn() -> None:
    program = f"""
import json, sys
from gradinc.data.availability import availability
for name in {SETS!r}:
    availability(name)
heavy = ("torch", "torchvision", "numpy", "PIL", "sklearn")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


def test_a_folder_and_a_file_of_ones_own_are_here_when_they_are(pictures: Callable[..., Path]) -> None:
    root = pictures()
    assert availability("image_folder", str(root)).here
    assert not availability("image_folder", str(root / "none")).here
    assert not availability("image_folder").here
    assert availability("npz", str(root / "cat" / "00.png")).here
    assert not availability("npz", str(root)).here


def test_preparing_reads_everything_and_says_what_is_there(pictures: Callable[..., Path]) -> None:
    found = prepare_data("digits")
    assert (found.rows, dict(found.official), found.shape) == (1797, {}, (1, 8, 8))
    assert found.where == availability("digits").where + "/digits.csv.gz"
    root = pictures(count=4)
    assert prepare_data("image_folder", str(root)).rows == 12
    assert prepare_data("image_folder", str(root), {"size": 3}).shape == (3, 3, 3)
    path = root / "owl" / "03.png"
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(UserError) as caught:
        prepare_data("image_folder", str(root))
    assert caught.value.where == str(path)


def test_preparing_counts_official_parts(mnist_folder: Callable[..., Path]) -> None:
    assert dict(prepare_data("mnist", str(mnist_folder())).official) == {"train": 40, "test": 20}
