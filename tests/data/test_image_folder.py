"""A folder of images is read as it is laid out, and what is wrong with it is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.config.schema import DataSection
from gradinc.data import survey
from gradinc.data.dataset import Dataset, load_dataset, open_source
from gradinc.data.decode import ImageFiles
from gradinc.data.file_rows import FileRows
from gradinc.data.folder import IMAGE_FILES
from gradinc.data.reading import read_rows
from gradinc.data.rows import TensorRows
from gradinc.data.source import TEST, TRAIN, VALIDATION
from gradinc.runs.position import Position
from gradinc.runs.saving import Saver

Section = Callable[..., DataSection]
Pictures = Callable[..., Path]


def opened(section: Section, root: Path, **values: Any) -> Dataset:
    return load_dataset(section("image_folder", root=str(root), **values), "cpu", torch.float32)


def save(path: Path, colour: Any, size: tuple[int, int] = (6, 6), mode: str = "RGB", **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


def image(files: ImageFiles, row: int) -> np.ndarray:
    images, _ = read_rows(files, [row])
    return images[0]


def test_one_folder_for_each_class_is_split_by_class(section: Section, pictures: Pictures) -> None:
    data = opened(section, pictures(count=10), validation=0.125)
    assert data.classes == ("cat", "dog", "owl")
    assert (len(data.train), len(data.validation), len(data.test)) == (21, 3, 6)
    assert torch.bincount(data.train.y).tolist() == [7, 7, 7]
    assert data.shape == (3, 5, 6)
    assert data.outputs == 3


def test_pixels_are_those_of_the_files(section: Section, pictures: Pictures) -> None:
    root = pictures()
    data = opened(section, root, normalize="none", validation=0)
    assert isinstance(data.train, TensorRows)
    files = sorted(root.glob("*/*.png"))
    wanted = {np.asarray(Image.open(path)).transpose(2, 0, 1).tobytes() for path in files}
    rows = [row.numpy().astype(np.uint8).tobytes() for part in (data.train, data.test) for row in part.x]
    assert set(rows) == wanted
    assert len(rows) == len(files)


@pytest.mark.parametrize("name", ["val", "validation"])
def test_official_parts_are_used_as_they_are(section: Section, pictures: Pictures, name: str) -> None:
    pictures(count=5, below="train")
    pictures(count=2, below=name)
    root = pictures(count=3, below="test")
    source = open_source("image_folder", str(root), {})
    assert isinstance(source.x, ImageFiles)
    official = {"train": TRAIN, name: VALIDATION, "test": TEST}
    assert source.part is not None
    assert [official[path.split("/")[0]] for path in source.x.paths] == source.part.tolist()
    data = opened(section, root, validation=0.4)
    assert (len(data.train), len(data.validation), len(data.test)) == (15, 6, 9)


def test_without_an_official_test_part_one_is_drawn(section: Section, pictures: Pictures) -> None:
    pictures(count=10, below="train")
    data = opened(section, pictures(count=2, below="val"))
    assert (len(data.train), len(data.validation), len(data.test)) == (24, 6, 6)


def test_train_may_be_the_name_of_a_class(tmp_path: Path) -> None:
    for name in ("train", "tram"):
        save(tmp_path / name / "1.png", "red")
    assert open_source("image_folder", str(tmp_path), {}).classes == ("train", "tram")


@pytest.mark.parametrize("ending", IMAGE_FILES.formats)
def test_every_format_is_read_also_in_capitals(tmp_path: Path, ending: str) -> None:
    mode = "L" if ending == ".pgm" else "RGB"
    save(tmp_path / "a" / f"1{ending}", 130 if mode == "L" else (130, 130, 130), mode=mode)
    save(tmp_path / "b" / f"1{ending.upper()}", 130 if mode == "L" else (130, 130, 130), mode=mode)
    (tmp_path / "a" / "notes.txt").write_text("not an image")
    (tmp_path / "a" / ".hidden.png").write_text("not an image")
    files = open_source("image_folder", str(tmp_path), {"channels": 3}).x
    assert isinstance(files, ImageFiles)
    assert len(files) == 2
    assert abs(image(files, 0).astype(int) - 130).max() <= 1


def test_images_below_a_class_at_any_depth_belong_to_it(tmp_path: Path) -> None:
    save(tmp_path / "a" / "deep" / "er" / "1.png", "red")
    save(tmp_path / "b" / "1.png", "red")
    source = open_source("image_folder", str(tmp_path), {})
    assert isinstance(source.x, ImageFiles)
    assert source.x.paths == ("a/deep/er/1.png", "b/1.png")
    assert source.y.tolist() == [0, 1]


@pytest.mark.parametrize(("second", "channels"), [("L", 1), ("RGB", 3), ("P", 3)])
def test_images_are_grey_if_all_of_them_are(tmp_path: Path, second: str, channels: int) -> None:
    save(tmp_path / "a" / "1.png", 9, mode="L")
    save(tmp_path / "b" / "1.png", 0, mode=second)
    assert open_source("image_folder", str(tmp_path), {}).shape == (channels, 6, 6)
    assert open_source("image_folder", str(tmp_path), {"channels": 1}).shape == (1, 6, 6)
    assert open_source("image_folder", str(tmp_path), {"channels": 3}).shape == (3, 6, 6)


def test_sixteen_bits_become_eight_and_transparency_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((6, 6), 0x8123, np.uint16)).save(tmp_path / "a" / "1.png")
    save(tmp_path / "b" / "1.png", (10, 20, 30, 0), mode="RGBA")
    files = open_source("image_folder", str(tmp_path), {}).x
    assert isinstance(files, ImageFiles)
    assert image(files, 0)[:, 0, 0].tolist() == [0x81] * 3
    assert image(files, 1)[:, 0, 0].tolist() == [10, 20, 30]


def test_images_of_different_sizes_are_refused_or_scaled(section: Section, tmp_path: Path) -> None:
    for name in ("a/1.png", "a/2.png", "b/1.png"):
        save(tmp_path / name, "red")
    save(tmp_path / "b" / "2.png", "red", size=(7, 6))
    with pytest.raises(UserError) as caught:
        opened(section, tmp_path, validation=0)
    assert caught.value.where == str(tmp_path / "b" / "2.png")
    assert caught.value.what == "is 7x6 pixels, while a/1.png is 6x6"
    assert caught.value.fix == "Give data.size=N to scale all images to NxN"
    assert open_source("image_folder", str(tmp_path), {"size": 4}).shape == (3, 4, 4)


def test_scaling_keeps_proportions_and_cuts_out_the_middle(tmp_path: Path) -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 255
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.fromarray(wide).save(tmp_path / name / "1.png")
    files = open_source("image_folder", str(tmp_path), {"size": 10}).x
    assert isinstance(files, ImageFiles)
    assert (image(files, 0) == 255).all()
    half = open_source("image_folder", str(tmp_path), {"size": 5}).x
    assert isinstance(half, ImageFiles)
    assert image(half, 0).shape == (3, 5, 5)


BROKEN = {
    "empty": b"",
    "text": b"I am no image",
    "html": b"<html>404</html>",
    "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
@pytest.mark.parametrize("memory", ["tensor", "stream"])
def test_a_file_that_is_no_image_is_named(section: Section, pictures: Pictures, content: bytes, memory: str) -> None:
    path = pictures() / "dog" / "03.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match="not an image format that gradinc reads") as caught:
        opened(section, path.parent.parent, memory=memory)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("memory", ["tensor", "stream"])
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "gif"])
def test_a_truncated_image_is_named_before_training(section: Section, tmp_path: Path, ending: str, memory: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            Image.fromarray(noise).save(tmp_path / name / f"{number}.{ending}")
    path = tmp_path / "b" / f"1.{ending}"
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(UserError, match="not a readable image") as caught:
        opened(section, tmp_path, memory=memory)
    assert caught.value.where == str(path)


@pytest.mark.parametrize("memory", ["tensor", "stream"])
@pytest.mark.parametrize("size", [{}, {"size": 8}], ids=["as it is", "scaled"])
def test_a_pipe_among_the_images_is_not_waited_for(
    section: Section, pictures: Pictures, memory: str, size: dict[str, int]
) -> None:
    path = pictures() / "cat" / "00.png"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="is not a plain file") as caught:
        opened(section, path.parent.parent, memory=memory, **size)
    assert caught.value.where == str(path)


def test_an_image_that_claims_to_be_huge_is_refused(section: Section, pictures: Pictures) -> None:
    path = pictures() / "cat" / "00.png"
    content = bytearray(path.read_bytes())
    content[16:24] = (2**31 - 1).to_bytes(4, "big") * 2
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        opened(section, path.parent.parent, size=8)
    assert caught.value.where == str(path)


@pytest.mark.filterwarnings("error")
def test_more_pixels_than_are_safe_are_refused_in_one_line(
    section: Section, pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = pictures()
    Image.new("RGB", (8, 8)).save(root / "dog" / "03.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40)  # 64 are more, and not twice as many: Pillow only warns
    with pytest.raises(UserError, match=r"not a readable image \(more than 40 pixels") as caught:
        opened(section, root, size=5)
    assert caught.value.where == str(root / "dog" / "03.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 64)
    assert opened(section, root, size=5).shape == (3, 5, 5)


def test_an_image_that_is_changed_between_two_epochs_ends_the_run_with_its_checkpoint(
    pictures: Pictures, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = pictures() / "dog" / "03.png"
    old, new = path.read_bytes(), (pictures(below="others") / "owl" / "00.png").read_bytes()
    words = ["data=image_folder", f"data.root={tmp_path / 'pictures'}", "data.validation=0.2", "data.memory=stream"]
    words += ["model=linear", "budget.epochs=3", "device=cpu", "threads=1", "data.split_seed=1"]
    shutil.rmtree(tmp_path / "pictures" / "others")
    assert main(["train", *words, f"output={tmp_path}", "name=undisturbed"]) == 0
    offer = Saver.offer

    def changed(saver: Saver, position: Position) -> None:
        offer(saver, position)
        if position.epoch == 1:
            path.write_bytes(new)

    with monkeypatch.context() as patch:
        patch.setattr(Saver, "offer", changed)
        assert main(["train", *words, f"output={tmp_path}", "name=disturbed", "checkpoint.seconds=0"]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"{path}: was changed while the run read it.")
    assert err.count("\n") == 1
    result = json.loads((tmp_path / "disturbed" / "result.json").read_text())
    assert (result["status"], result["test"]) == ("failed", None)
    assert main(["train", *words, f"output={tmp_path}", "name=disturbed"]) == 2
    assert "was started with other data" in capsys.readouterr().err
    path.write_bytes(old)
    assert main(["train", *words, f"output={tmp_path}", "name=disturbed"]) == 0
    assert "from step 1" in capsys.readouterr().out
    digests = [
        json.loads((tmp_path / name / "result.json").read_text())["weights_digest"]
        for name in ("undisturbed", "disturbed")
    ]
    assert digests[0] == digests[1]


def test_a_class_whose_name_is_not_utf_8_is_refused_and_a_file_is_not(
    pictures: Pictures, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = pictures()
    words = ["data=image_folder", f"data.root={root}", "model=linear", "budget.epochs=1", f"output={tmp_path / 'out'}"]
    os.rename(root / "dog", os.fsencode(root) + b"/d\xf6g")
    assert main(["train", *words]) == 2
    assert "d\\udcf6g: the name of this class is not UTF-8. Rename the folder." in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    os.rename(os.fsencode(root) + b"/d\xf6g", root / "dog")
    os.rename(root / "dog" / "00.png", os.fsencode(root / "dog") + b"/\xf6.png")
    assert main(["train", *words]) == 0


def test_a_place_whose_name_is_not_utf_8_is_recorded(mnist_folder: Pictures, tmp_path: Path, monkeypatch: Any) -> None:
    cache = os.fsdecode(os.fsencode(tmp_path) + b"/\xf6")
    mnist_folder("\udcf6/gradinc/mnist")
    monkeypatch.setenv("XDG_CACHE_HOME", cache)
    assert main(["train", "data=mnist", "model=linear", "budget.steps=1", f"output={tmp_path}", "name=run"]) == 0
    meta = json.loads((tmp_path / "run" / "meta.json").read_text(encoding="utf-8"))
    assert meta["data"]["origin"] == f"{cache}/gradinc/mnist"


def test_a_folder_that_is_not_laid_out_like_that_is_refused(section: Section, tmp_path: Path) -> None:
    def message(root: Path | None) -> str:
        with pytest.raises(UserError) as caught:
            load_dataset(section("image_folder", root=None if root is None else str(root)), "cpu", torch.float32)
        return str(caught.value)

    assert message(None).startswith("data.root: image_folder needs a folder. Give data.root=DIR")
    assert "no such folder" in message(tmp_path / "nothing")
    save(tmp_path / "flat" / "1.png", "red")
    assert "is a file, not a folder" in message(tmp_path / "flat" / "1.png")
    assert "and has 0" in message(tmp_path / "flat")
    save(tmp_path / "one" / "a" / "1.png", "red")
    assert "and has 1" in message(tmp_path / "one")
    (tmp_path / "one" / "b").mkdir()
    assert "this class's folder holds no images" in message(tmp_path / "one")
    for part, name in (("train", "a"), ("train", "b"), ("test", "c")):
        save(tmp_path / "new" / part / name / "1.png", "red")
    assert message(tmp_path / "new").startswith(f"{tmp_path}/new/test/c: this class has no training images.")
    save(tmp_path / "new" / "extra" / "a" / "1.png", "red")
    assert "neither val, validation nor test" in message(tmp_path / "new")
    for part in ("train", "val", "validation"):
        for name in ("a", "b"):
            save(tmp_path / "twice" / part / name / "1.png", "red")
    assert "has both val and validation" in message(tmp_path / "twice")


@pytest.mark.parametrize("memory", ["tensor", "stream"])
def test_only_training_images_are_counted(section: Section, pictures: Pictures, memory: str) -> None:
    pictures(count=5, below="train")
    root = pictures(count=3, below="test")

    def mean() -> tuple[float, ...]:
        return opened(section, root, memory=memory, validation=0).mean

    first = mean()
    save(root / "test" / "cat" / "00.png", "white", size=(6, 5))
    assert mean() == first
    save(root / "train" / "cat" / "00.png", "white", size=(6, 5))
    assert mean() != first


def test_automatic_memory_goes_by_size(section: Section, pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> None:
    """24 images of 90 values of 4 bytes may take a quarter of what there is."""
    root = pictures()
    assert isinstance(opened(section, root).train, TensorRows)
    for available, kind in ((4 * 24 * 90 * 4, TensorRows), (4 * 24 * 90 * 4 - 1, FileRows)):
        monkeypatch.setattr("gradinc.data.available_memory.available_memory", lambda size=available: size)
        assert isinstance(opened(section, root).train, kind)


OPENING = """
import collections, sys
import torch
from gradinc.config.schema import DataSection
from gradinc.data.dataset import load_dataset
opened = collections.Counter()
sys.addaudithook(lambda event, details: opened.update([str(details[0])]) if event == "open" else None)
load_dataset(DataSection(name="image_folder", root=sys.argv[1], memory=sys.argv[2]), "cpu", torch.float32)
print(*(opened[path] for path in sorted(opened) if path.endswith(".png")))
"""


@pytest.mark.parametrize("memory", ["tensor", "stream"])
def test_a_file_is_opened_once_to_hash_decode_and_count_it(pictures: Pictures, tmp_path: Path, memory: str) -> None:
    """The header of the first file gives the size, the headers of grey files whether all of them are grey."""

    def opened_files(root: Path) -> list[int]:
        command = [sys.executable, "-c", OPENING, str(root), memory]
        return [int(count) for count in subprocess.run(command, capture_output=True, check=True).stdout.split()]

    root = pictures(count=100)
    assert opened_files(root) == [2] + [1] * 299
    for path in root.glob("*/*.png"):
        Image.open(path).convert("L").save(path)
    assert opened_files(root) == [2] * 300


@pytest.fixture
def settled(pictures: Pictures, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of images that last changed long enough ago: 0.2 seconds in this process, to save time."""
    monkeypatch.setattr(survey, "SETTLED", survey.SETTLED // 10)
    root = pictures()
    wait_until_settled()
    return root


def wait_until_settled() -> None:
    time.sleep(survey.SETTLED / 1e9 + 0.05)


def opened_again(root: Path, memory: str = "stream") -> int:
    """The number of files that another start opens, without the first, whose header gives the size."""
    command = [sys.executable, "-c", OPENING, str(root), memory]
    return len(subprocess.run(command, capture_output=True, check=True).stdout.split()) - 1


def test_streamed_files_that_have_not_changed_are_not_read_at_the_next_start(section: Section, settled: Path) -> None:
    first = opened(section, settled, memory="stream")
    time.sleep(2)  # the other processes ask for this
    assert opened_again(settled) == 0
    assert opened_again(settled, memory="tensor") == 23, "their pixels are needed"
    again = opened(section, settled, memory="stream")
    assert again.record() == first.record()
    path = settled / "dog" / "03.png"
    path.write_bytes((settled / "owl" / "00.png").read_bytes())
    with pytest.raises(UserError, match="was changed while the run read it"):
        list(chain.from_iterable(part.chunks(4) for part in (again.train, again.validation, again.test)))


def test_files_with_the_size_and_the_time_of_the_old_ones_are_read_again(section: Section, settled: Path) -> None:
    first = opened(section, settled, memory="stream")
    path, other = (settled / "dog" / f"0{number}.png" for number in (3, 4))
    stat = path.stat()
    path.write_bytes(other.read_bytes())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    wait_until_settled()
    changed = opened(section, settled, memory="stream")
    assert changed.digest != first.digest
    assert changed.digest == opened(section, settled, memory="tensor").digest
    path.write_bytes(b"broken")
    wait_until_settled()
    with pytest.raises(UserError, match="not an image format"):
        opened(section, settled, memory="stream")


def test_files_that_changed_a_moment_ago_are_not_trusted(section: Section, settled: Path, tmp_path: Path) -> None:
    path, later = settled / "dog" / "03.png", time.time() + 60
    os.utime(path, (later, later))  # it stays new, however slow this machine is
    opened(section, settled, memory="stream")
    assert not (tmp_path / "cache").exists()
    os.utime(path)
    wait_until_settled()
    opened(section, settled, memory="stream")
    assert len(list((tmp_path / "cache" / "gradinc" / "image_folder").iterdir())) == 1


def test_statistics_are_stored_for_one_split_and_one_size(section: Section, settled: Path) -> None:
    for values in ({}, {"split_seed": 1}, {"size": 4}, {"channels": 1}):
        opened(section, settled, memory="stream")
        streamed = opened(section, settled, memory="stream", **values)
        assert streamed.record() == opened(section, settled, memory="tensor", **values).record()


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"\0" + content[1:], lambda _: b""])
def test_a_damaged_cache_is_replaced(
    section: Section, settled: Path, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    first = opened(section, settled, memory="stream").record()
    (stored,) = (tmp_path / "cache" / "gradinc" / "image_folder").iterdir()
    content = stored.read_bytes()
    stored.write_bytes(damage(content))
    assert opened(section, settled, memory="stream").record() == first
    assert stored.read_bytes() == content


def test_a_cache_that_cannot_be_written_does_not_stop_a_run(section: Section, settled: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file")
    assert opened(section, settled, memory="stream").record() == opened(section, settled, memory="tensor").record()
