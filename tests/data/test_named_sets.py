"""The sets with names: what they hold, where they are looked for, what is said when they are broken."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from gradinc.base.errors import UserError
from gradinc.config.schema import DataSection
from gradinc.data import locations
from gradinc.data.dataset import load_dataset, open_source

Section = Callable[..., DataSection]
Folder = Callable[..., Path]

SYSTEM = locations.DOWNLOADABLE["fashion_mnist"].system
needs_fashion_mnist = pytest.mark.skipif(
    SYSTEM is None or len(locations.idx_files(SYSTEM)) < 4,
    reason="Debian's package dataset-fashion-mnist is not installed",
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, so that the tests don't see what was downloaded on this machine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gradinc"


def test_digits_are_1797_images_in_ten_classes(section: Section) -> None:
    data = load_dataset(section("digits"), "cpu", torch.float32)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [1294, 144, 359]
    assert data.shape == (1, 8, 8)
    assert data.outputs == 10
    source = open_source("digits", None, {})
    assert source.x[0, 0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]  # type: ignore[index]
    assert source.y[:10].tolist() == list(range(10))


def test_digits_are_those_of_scikit_learn() -> None:
    from sklearn.datasets import load_digits

    source, wanted = open_source("digits", None, {}), load_digits()
    assert np.array_equal(np.asarray(source.x)[:, 0], wanted.images)
    assert np.array_equal(source.y, wanted.target)


def test_diabetes_is_that_of_scikit_learn(section: Section) -> None:
    from sklearn.datasets import load_diabetes

    source, wanted = open_source("diabetes", None, {}), load_diabetes(scaled=False)
    assert np.array_equal(source.x, wanted.data.astype(np.float32))
    assert np.array_equal(source.y[:, 0], wanted.target)
    data = load_dataset(section("diabetes"), "cpu", torch.float32)
    assert (data.shape, data.outputs, data.classes) == ((10,), 1, None)
    assert data.target_mean is not None
    assert data.target_mean[0] == pytest.approx(152, abs=5)
    as_found = load_dataset(section("diabetes", standardize_target=False), "cpu", torch.float32)
    assert as_found.train.y.max() > 300


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    for content in (b"", b"<html>", b"\x1f\x8b\x08", b"1,2,3\n"):
        (tmp_path / "digits.csv.gz").write_bytes(content)
        with pytest.raises(UserError) as caught:
            open_source("digits", str(tmp_path), {})
        assert caught.value.where == str(tmp_path / "digits.csv.gz")


@needs_fashion_mnist
def test_fashion_mnist_is_read_from_debians_package(section: Section) -> None:
    data = load_dataset(section("fashion_mnist"), "cpu", torch.float32)
    assert [len(part) for part in (data.train, data.validation, data.test)] == [54000, 6000, 10000]
    assert data.shape == (1, 28, 28)
    assert data.origin == str(SYSTEM)
    # The numbers that are in use everywhere for all 60,000 training images are 0.2860 and 0.3530.
    assert data.mean[0] == pytest.approx(0.2860, abs=5e-4)
    assert data.std[0] == pytest.approx(0.3530, abs=5e-4)
    assert torch.bincount(data.train.y).tolist() == [5400] * 10
    assert torch.bincount(data.test.y).tolist() == [1000] * 10
    assert data.classes is not None
    assert data.classes[9] == "Ankle boot"
    assert int(open_source("fashion_mnist", None, {}).y[0]) == 9


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("layout", [".", "MNIST/raw"])
def test_mnist_is_found_under_root(mnist_folder: Folder, tmp_path: Path, layout: str, compressed: bool) -> None:
    folder = mnist_folder(f"given/{layout}", compressed)
    source = open_source("mnist", str(tmp_path / "given"), {})
    assert source.origin == str(folder)
    assert source.part is not None
    assert source.part.tolist() == [0] * 40 + [2] * 20
    assert source.shape == (1, 4, 4)


def test_root_comes_before_the_systems_folder_and_that_before_the_cache(
    mnist_folder: Folder, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = locations.DOWNLOADABLE["fashion_mnist"]
    system = locations.Downloadable(found.label, found.rows, tmp_path / "system", found.package)
    monkeypatch.setitem(locations.DOWNLOADABLE, "fashion_mnist", system)
    given = [
        mnist_folder("given"),
        mnist_folder("system"),
        mnist_folder(f"{cache.relative_to(tmp_path)}/fashion_mnist"),
    ]
    for folder in given:
        assert open_source("fashion_mnist", str(tmp_path / "given"), {}).origin == str(folder)
        shutil.rmtree(folder)
    assert locations.find("fashion_mnist", str(tmp_path / "given")) is None


def test_a_missing_file_of_a_set_is_named(mnist_folder: Folder) -> None:
    folder = mnist_folder()
    (folder / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(UserError, match="no such file") as caught:
        open_source("mnist", str(folder), {})
    assert caught.value.where == str(folder / "t10k-labels-idx1-ubyte")
    assert "data.root=DIR" in caught.value.fix


def test_files_that_do_not_belong_together_are_refused(mnist_folder: Folder, idx: Callable[..., bytes]) -> None:
    folder = mnist_folder()
    labels = folder / "train-labels-idx1-ubyte.gz"
    labels.write_bytes(idx(np.zeros(39)))
    with pytest.raises(UserError, match="39 labels for the 40 images in train-images") as caught:
        open_source("mnist", str(folder), {})
    assert caught.value.where == str(labels)
    labels.write_bytes(idx(np.full(40, 10)))
    with pytest.raises(UserError, match="row 0 has label 10, but there are 10 classes"):
        open_source("mnist", str(folder), {})
    labels.write_bytes(idx(np.zeros(40)))
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(idx(np.zeros((20, 5, 4))))
    with pytest.raises(UserError, match=r"training images are \(1, 4, 4\), test images \(1, 5, 4\)"):
        open_source("mnist", str(folder), {})


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize(("name", "file"), [("cifar10", "data_batch_1"), ("cifar100", "train")])
def test_a_cifar_file_that_is_not_the_published_one_is_never_opened(tmp_path: Path, name: str, file: str) -> None:
    folder = tmp_path / str(locations.DOWNLOADABLE[name].folder)
    folder.mkdir()
    path = folder / file
    path.write_bytes(pickle.dumps(Payload(tmp_path / "ran")))
    for root in (tmp_path, folder):  # either names the set
        with pytest.raises(UserError, match="not the published file") as caught:
            open_source(name, str(root), {})
        assert caught.value.where == str(path)
    assert not (tmp_path / "ran").exists()
    pickle.loads(path.read_bytes())  # the other half: the payload works
    assert (tmp_path / "ran").exists()
    path.unlink()
    with pytest.raises(UserError, match="no such file"):
        open_source(name, str(tmp_path), {})
