"""Downloads come whole or not at all. The server is one of this process, on the loopback address."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import pickle
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from gradinc.base.errors import UserError
from gradinc.data import locations
from gradinc.data.availability import availability, prepare_data
from gradinc.data.dataset import open_source
from gradinc.data.torchvision_import import import_torchvision


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "gradinc"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The address of a web server, and the folder that it serves."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/", folder
        running.shutdown()


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def mnist_mirror(server: tuple[str, Path], mnist_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """torchvision's MNIST has this server as its mirror, and a small set as its files."""
    address, served = server
    files = sorted(mnist_folder().iterdir())
    for file in files:
        (served / file.name).write_bytes(file.read_bytes())
    mnist = import_torchvision("datasets").MNIST
    monkeypatch.setattr(mnist, "mirrors", [address])
    monkeypatch.setattr(mnist, "resources", [(file.name, md5(file.read_bytes())) for file in files])
    return served


def test_a_set_is_downloaded_once_and_then_here(
    mnist_mirror: Path, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert not availability("mnist").here
    first = open_source("mnist", None, {})
    assert first.origin == str(cache / "mnist" / "MNIST" / "raw")
    assert len(first.y) == 60
    assert availability("mnist").here
    assert not [path for path in (cache / "mnist").iterdir() if path.name.startswith(".")]
    assert capfd.readouterr().out == ""  # a listing as JSON has stdout for itself
    for file in mnist_mirror.iterdir():
        file.unlink()
    assert np.array_equal(np.asarray(open_source("mnist", None, {}).x), np.asarray(first.x))


def test_a_set_is_downloaded_into_root_where_one_is_given(mnist_mirror: Path, tmp_path: Path, cache: Path) -> None:
    assert prepare_data("mnist", str(tmp_path / "mine")).where == str(tmp_path / "mine" / "MNIST" / "raw")
    assert not cache.exists()


def test_a_file_with_another_md5_sum_is_refused_and_nothing_is_kept(mnist_mirror: Path, cache: Path) -> None:
    path = mnist_mirror / "t10k-labels-idx1-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(UserError, match="the download failed") as caught:
        open_source("mnist", None, {})
    assert str(cache / "mnist") in caught.value.what
    assert "data.root=DIR" in caught.value.fix
    assert not (cache / "mnist").exists()
    assert not availability("mnist").here


def test_without_a_network_the_message_lists_what_was_tried_and_the_fix(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fashion = locations.DOWNLOADABLE["fashion_mnist"]
    elsewhere = locations.Downloadable(fashion.label, fashion.rows, tmp_path / "system", fashion.package)
    monkeypatch.setitem(locations.DOWNLOADABLE, "fashion_mnist", elsewhere)
    monkeypatch.setattr(import_torchvision("datasets").FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(UserError) as caught:
        open_source("fashion_mnist", str(tmp_path / "given"), {})
    for folder in (tmp_path / "given", tmp_path / "system", cache / "fashion_mnist"):
        assert str(folder) in caught.value.what
    assert "dataset-fashion-mnist" in caught.value.fix
    assert "data.root=DIR" in caught.value.fix
    assert not (tmp_path / "given").exists()


def test_a_root_that_cannot_be_written_is_named(mnist_mirror: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written") as caught:
        open_source("mnist", str(tmp_path / "file" / "below"), {})
    assert caught.value.where == str(tmp_path / "file" / "below")


def test_cifar_is_downloaded_and_read(server: tuple[str, Path], cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A set of the published form, 2 images in each of its files, with md5 sums of its own."""
    address, served = server
    cifar10 = import_torchvision("datasets").CIFAR10
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 2, 3072), np.uint8)
    files = {
        name: pickle.dumps({"data": batch, "labels": [number, 9 - number]})
        for number, ((name, _), batch) in enumerate(zip([*cifar10.train_list, *cifar10.test_list], images, strict=True))
    }
    files[cifar10.meta["filename"]] = pickle.dumps({"label_names": [str(number) for number in range(10)]})
    with tarfile.open(served / cifar10.filename, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{cifar10.base_folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    monkeypatch.setattr(cifar10, "url", address + cifar10.filename)
    monkeypatch.setattr(cifar10, "tgz_md5", md5((served / cifar10.filename).read_bytes()))
    for listed in ("train_list", "test_list"):
        sums = [[name, md5(files[name])] for name, _ in getattr(cifar10, listed)]
        monkeypatch.setattr(cifar10, listed, sums)
    monkeypatch.setattr(cifar10, "meta", {**cifar10.meta, "md5": md5(files[cifar10.meta["filename"]])})
    source = open_source("cifar10", None, {})
    assert np.array_equal(np.asarray(source.x), images.reshape(12, 3, 32, 32))
    assert source.y.tolist() == [0, 9, 1, 8, 2, 7, 3, 6, 4, 5, 5, 4]
    assert source.part is not None
    assert source.part.tolist() == [0] * 10 + [2] * 2
    assert source.origin == str(cache / "cifar10" / "cifar-10-batches-py")
    assert sorted(path.name for path in (cache / "cifar10").iterdir()) == ["cifar-10-batches-py"]


@pytest.mark.parametrize("kind", ["above", "absolute", "through a link"])
def test_an_archive_that_is_not_the_published_one_is_never_unpacked(
    server: tuple[str, Path], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    address, served = server
    cifar10 = import_torchvision("datasets").CIFAR10
    outside = tmp_path / "outside"
    outside.mkdir()
    name = {"above": "../../outside/pwned", "absolute": str(outside / "pwned")}.get(kind, "link/pwned")
    with tarfile.open(served / cifar10.filename, "w:gz") as archive:
        if kind == "through a link":
            link = tarfile.TarInfo("link")
            link.type, link.linkname = tarfile.SYMTYPE, str(outside)
            archive.addfile(link)
        entry = tarfile.TarInfo(name)
        entry.size = 3
        archive.addfile(entry, io.BytesIO(b"bad"))
    monkeypatch.setattr(cifar10, "url", address + cifar10.filename)
    with pytest.raises(UserError, match="the download failed"):
        open_source("cifar10", None, {})
    assert not list(tmp_path.rglob("pwned"))
    assert not (cache / "cifar10").exists()
    (tmp_path / "a" / "b").mkdir(parents=True)
    with tarfile.open(served / cifar10.filename) as archive:
        archive.extraction_filter = lambda member, path: member  # Python before 3.11.4 has no filter=
        archive.extractall(tmp_path / "a" / "b")
    assert (outside / "pwned").exists(), "unpacking it would have written there"
