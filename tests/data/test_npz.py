"""Arrays in an npz file become rows by a clear rule, and a hostile file gets nowhere."""

from __future__ import annotations

import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gradinc.base.errors import UserError
from gradinc.cli.main import main
from gradinc.config.compose import load_config
from gradinc.config.identity import document_digest
from gradinc.config.schema import DataSection
from gradinc.data.dataset import load_dataset, open_source
from gradinc.data.source import Source

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (30, 8, 9, 3), np.uint8)
FEATURES = RANDOM.normal(size=(30, 4))
LABELS = np.arange(30) % 3


def saved(tmp_path: Path, **arrays: Any) -> str:
    np.savez(tmp_path / "data.npz", **arrays)
    return str(tmp_path / "data.npz")


def opened(tmp_path: Path, options: dict[str, Any] | None = None, **arrays: Any) -> Source:
    return open_source("npz", saved(tmp_path, **arrays), options or {})


def refused(tmp_path: Path, options: dict[str, Any] | None = None, **arrays: Any) -> str:
    with pytest.raises(UserError) as caught:
        opened(tmp_path, options, **arrays)
    assert str(tmp_path / "data.npz") in caught.value.where
    return caught.value.what


FIRST = IMAGES.transpose(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("x", "options", "wanted"),
    [
        (IMAGES, {}, FIRST),
        (FIRST, {}, FIRST),
        (IMAGES[..., 0], {}, FIRST[:, :1]),
        (IMAGES[..., :2], {"layout": "channels_last"}, FIRST[:, :2]),
        (IMAGES, {"layout": "channels_first"}, IMAGES),
    ],
)
def test_uint8_images_become_channels_first(
    tmp_path: Path, x: np.ndarray, options: dict[str, Any], wanted: np.ndarray
) -> None:
    source = opened(tmp_path, options, x=x, y=LABELS)
    assert isinstance(source.x, np.ndarray)
    assert source.x.dtype == np.uint8
    assert np.array_equal(source.x, wanted)
    assert source.scale == 255


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int64", "uint8", "bool"])
def test_rows_of_one_dimension_are_features(tmp_path: Path, dtype: str) -> None:
    source = opened(tmp_path, x=(FEATURES * 10).astype(dtype), y=LABELS)
    assert isinstance(source.x, np.ndarray)
    assert source.x.dtype == np.float32
    assert np.array_equal(source.x, (FEATURES * 10).astype(dtype).astype(np.float32))
    assert source.scale == 1


def test_whole_numbers_are_classes_and_others_targets(tmp_path: Path) -> None:
    labelled = opened(tmp_path, x=FEATURES, y=np.array([7, -2, 40])[LABELS])
    assert labelled.classes == ("-2", "7", "40")
    assert labelled.y[:3].tolist() == [1, 0, 2]
    measured = opened(tmp_path, x=FEATURES, y=FEATURES[:, :2])
    assert measured.classes is None
    assert (measured.y.shape, measured.y.dtype) == ((30, 2), np.float32)
    assert opened(tmp_path, x=FEATURES, y=FEATURES[:, 0]).y.shape == (30, 1)


EYE = np.eye(3)[LABELS]

DOUBTFUL = {
    "whole numbers as floats": LABELS.astype(np.float32),
    "whole numbers as halves": LABELS.astype(np.float16)[:, None],
    "negative ones": LABELS - 1.0,
    "one-hot floats": EYE,
    "one-hot integers": EYE.astype(np.int64),
    "one-hot bool": EYE.astype(bool),
    "as many integers as rows": np.arange(30) * 7,
}


@pytest.mark.parametrize("y", DOUBTFUL.values(), ids=DOUBTFUL.keys())
def test_targets_that_could_be_classes_or_values_are_refused_until_it_is_said_which(
    tmp_path: Path, y: np.ndarray
) -> None:
    with pytest.raises(UserError, match=r"classes or values\?\. Give data\.task=classes or data\.task=values\.$"):
        opened(tmp_path, x=FEATURES, y=y)
    as_values = opened(tmp_path, {"task": "values"}, x=FEATURES, y=y)
    assert as_values.classes is None
    assert np.array_equal(as_values.y, y.reshape(30, -1).astype(np.float32))
    as_classes = opened(tmp_path, {"task": "classes"}, x=FEATURES, y=y)
    labels = y.argmax(1) if y.ndim == 2 and y.shape[1] == 3 else y.reshape(-1)
    assert as_classes.classes is not None
    assert [float(as_classes.classes[label]) for label in as_classes.y] == labels.tolist()


CLEAR = {
    "integers": (np.array([-1, 3, 7])[LABELS], ("-1", "3", "7")),
    "one column": (LABELS[:, None], ("0", "1", "2")),
    "bool": (LABELS > 0, ("False", "True")),
    "unsigned": (LABELS.astype(np.uint64), ("0", "1", "2")),
    "floats": (FEATURES[:, 0], None),
    "several": (FEATURES, None),
    "counts of several things": (np.floor(FEATURES * 9), None),
    "nearly whole": (LABELS + np.where(np.arange(30) == 29, 0.5, 0.0), None),
}


@pytest.mark.parametrize(("y", "classes"), CLEAR.values(), ids=CLEAR.keys())
def test_targets_that_can_be_one_thing_only_are_taken_for_it(
    tmp_path: Path, y: np.ndarray, classes: tuple[str, ...] | None
) -> None:
    assert opened(tmp_path, x=FEATURES, y=y).classes == classes


@pytest.mark.parametrize("count", [1000, 1001])
def test_a_thousand_classes_are_the_most_without_a_word(tmp_path: Path, count: int) -> None:
    y = np.arange(count).repeat(5)
    x = np.zeros((len(y), 1), np.float32)
    if count > 1000:
        assert "1,001 different whole numbers in 5,005 rows" in refused(tmp_path, x=x, y=y)
    source = opened(tmp_path, {"task": "classes" if count > 1000 else "auto"}, x=x, y=y)
    assert source.classes is not None
    assert len(source.classes) == count


@pytest.mark.parametrize(
    ("task", "y", "message"),
    [
        ("classes", FEATURES[:, 0], "which is not a class"),
        ("classes", FEATURES, "rows that are not one-hot"),
        ("auto", np.eye(4)[LABELS] + np.eye(4)[LABELS + 1], "whole numbers, which are not classes"),  # several labels
        ("values", np.where(np.arange(30) == 3, np.nan, 1.0), "row 3 of y holds NaN"),
        ("classes", np.where(np.arange(30) == 3, np.nan, 1.0), "row 3 of y holds NaN"),
        ("auto", np.where(np.arange(30) == 3, np.nan, 1.0), "row 3 of y holds NaN"),
    ],
)
def test_targets_that_are_not_what_they_are_said_to_be_are_refused(
    tmp_path: Path, task: str, y: np.ndarray, message: str
) -> None:
    assert message in refused(tmp_path, {"task": task}, x=FEATURES, y=y)


def test_the_first_line_of_a_run_says_what_its_targets_are(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data=npz", "model=linear", "budget.epochs=1", "device=cpu", "threads=1", f"output={tmp_path / 'out'}"]
    for y, told in (
        (np.array([-1, 3, 7])[LABELS], "3 classes (-1, 3, 7)"),
        (LABELS, "3 classes"),
        (FEATURES[:, 0], "1 value"),
        (FEATURES[:, :2], "2 values"),
    ):
        root = saved(tmp_path, x=FEATURES, y=y)
        assert main(["train", *words, f"data.root={root}", "fresh=true"]) == 0
        line = capsys.readouterr().out.splitlines()[0]
        assert line == f"npz · {told} · 22 training, 2 validation, 6 test rows of 4 features"
        assert len(line) <= 81
    assert main(["train", *words, f"data.root={saved(tmp_path, x=FEATURES, y=LABELS * 1.0)}", "name=new"]) == 2
    assert not (tmp_path / "out" / "new").exists()


def test_a_run_from_before_there_was_the_key_is_the_same_run() -> None:
    def identity(*words: str) -> str:
        document = load_config(["data=npz", "data.root=a.npz", *words]).document
        if not words:
            del document["data"]["task"]
        return document_digest(document)

    assert identity() == identity("data.task=auto") != identity("data.task=values")


def test_official_parts_are_used_as_they_are(tmp_path: Path, section: Callable[..., DataSection]) -> None:
    arrays = {
        f"{kind}_{part}": array[rows]
        for part, rows in (("train", slice(18)), ("val", slice(18, 24)), ("test", slice(24, 30)))
        for kind, array in (("x", FEATURES), ("y", LABELS))
    }
    data = load_dataset(section("npz", root=saved(tmp_path, **arrays), normalize="none"), "cpu", torch.float64)
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 6, 6)
    assert torch.equal(data.test.x, torch.from_numpy(FEATURES[24:].astype(np.float32)).double())
    del arrays["x_val"], arrays["y_val"]
    data = load_dataset(section("npz", root=saved(tmp_path, **arrays), validation=0.5), "cpu", torch.float32)
    assert (len(data.train), len(data.validation), len(data.test)) == (9, 9, 6)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": FEATURES}, "holds x"),
        ({"images": IMAGES, "labels": LABELS}, "holds images, labels"),
        ({"x": FEATURES, "y": LABELS, "x_test": FEATURES, "y_test": LABELS}, "holds x, x_test, y, y_test"),
        ({"x_train": FEATURES, "y_train": LABELS}, "holds x_train, y_train"),
        ({"x_train": FEATURES, "y_train": LABELS, "x_test": FEATURES}, "holds x_test, x_train, y_train"),
        ({"x": FEATURES, "y": LABELS[:-1]}, "x has 30 rows, y has 29"),
        ({"x": FEATURES[:, 0], "y": LABELS}, "x has shape (30,)"),
        ({"x": IMAGES[None], "y": LABELS[:1]}, "x has shape (1, 30, 8, 9, 3)"),
        ({"x": IMAGES[:, :3], "y": LABELS}, "both places could be the channels"),
        ({"x": IMAGES[..., :2], "y": LABELS}, "no place could be the channels"),
        ({"x": FEATURES, "y": LABELS * 0}, "one class only (0)"),
        ({"x": FEATURES, "y": np.eye(3, dtype=int)[LABELS] * 2}, "y has shape (30, 3)"),
        ({"x": FEATURES[:0], "y": LABELS[:0]}, "has no values"),
        ({"x": FEATURES, "y": np.array(["a", "b", "c"])[LABELS]}, "y holds <U1, not numbers"),
        ({"x": FEATURES * 1j, "y": LABELS}, "x holds complex128, not numbers"),
        ({"x": np.where(np.arange(30)[:, None] == 17, np.nan, FEATURES), "y": LABELS}, "row 17 of x holds NaN"),
        ({"x": np.where(np.arange(30)[:, None] == 4, 1e300, FEATURES), "y": LABELS}, "row 4 of x holds"),
        ({"x": FEATURES, "y": np.where(np.arange(30) == 3, np.inf, 0.5)}, "row 3 of y holds"),
        (
            {"x_train": FEATURES, "y_train": LABELS, "x_test": FEATURES[:, :2], "y_test": LABELS},
            "rows of x_test have shape (2,), rows of x_train (4,)",
        ),
        (
            {"x_train": IMAGES, "y_train": LABELS, "x_test": IMAGES / 255, "y_test": LABELS},
            "x_test is float64, x_train is uint8",
        ),
        (
            {"x_train": FEATURES, "y_train": LABELS, "x_test": FEATURES, "y_test": LABELS + 1},
            "y_test has label 3, which y_train has not",
        ),
        (
            {"x_train": FEATURES, "y_train": LABELS, "x_test": FEATURES, "y_test": LABELS / 2},
            "y_test is float64, y_train is int64",
        ),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(tmp_path: Path, arrays: dict[str, Any], message: str) -> None:
    assert message in refused(tmp_path, **arrays)


class Payload:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_object_arrays_are_refused_and_run_nothing(tmp_path: Path) -> None:
    arrays = {"x": np.array([Payload(tmp_path / "ran")] * 2, object), "y": np.arange(2)}
    assert "x holds Python objects" in refused(tmp_path, **arrays)
    assert not (tmp_path / "ran").exists()
    np.load(tmp_path / "data.npz", allow_pickle=True)["x"]  # the other half: the payload works
    assert (tmp_path / "ran").exists()


def member(array: np.ndarray, shape: tuple[int, ...]) -> bytes:
    """An array's bytes under a header that claims another shape."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
    return file.getvalue() + array.tobytes()


def archived(tmp_path: Path, **members: bytes) -> str:
    with zipfile.ZipFile(tmp_path / "data.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return str(tmp_path / "data.npz")


def test_a_header_that_claims_too_much_costs_no_memory(tmp_path: Path) -> None:
    array = np.zeros((10, 2), np.uint8)
    honest = archived(tmp_path, x=member(array, (10, 2)), y=member(np.arange(10, dtype=np.uint8) % 2, (10,)))
    assert len(open_source("npz", honest, {}).y) == 10
    root = archived(tmp_path, x=member(array, (2**31, 2**20)), y=member(array[:, 0], (10,)))
    tracemalloc.start()
    with pytest.raises(UserError, match=r"x declares 2251799813685248 bytes .* and holds 20"):
        open_source("npz", root, {})
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_arrays_larger_than_the_free_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = saved(tmp_path, x=FEATURES, y=LABELS)
    size = FEATURES.nbytes + LABELS.nbytes
    monkeypatch.setattr("gradinc.data.npz_file.available_memory", lambda: size)
    assert len(open_source("npz", root, {}).y) == 30
    monkeypatch.setattr("gradinc.data.npz_file.available_memory", lambda: size - 1)
    with pytest.raises(UserError, match="more than the memory that is free"):
        open_source("npz", root, {})


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    root = saved(tmp_path, x=FEATURES, y=LABELS)
    whole = Path(root).read_bytes()
    flipped = whole[:300] + bytes([whole[300] ^ 1]) + whole[301:]
    damaged = [b"", b"<html>", whole[: len(whole) // 2], whole[:-1], flipped, b"\x80\x04K\x01.", b"PK\3\4" + bytes(50)]
    for content in damaged:
        Path(root).write_bytes(content)
        with pytest.raises(UserError, match="not a readable npz file") as caught:
            open_source("npz", root, {})
        assert caught.value.where == root
    os.mkfifo(tmp_path / "pipe.npz")
    for path in (None, str(tmp_path / "nothing.npz"), str(tmp_path), str(tmp_path / "pipe.npz"), "/dev/zero"):
        with pytest.raises(UserError, match=r"data\.root"):
            open_source("npz", path, {})
