"""IDX files are read exactly, and damaged ones are named and refused."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from gradinc.base.errors import UserError
from gradinc.data.idx import read_idx, read_images, read_labels

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 4, 3), np.uint8)
LABELS = np.arange(7, dtype=np.uint8) % 5
WHOLE = bytes((0, 0, 8, 3)) + b"".join(n.to_bytes(4, "big") for n in IMAGES.shape) + IMAGES.tobytes()


@pytest.mark.parametrize("compressed", [True, False])
def test_images_and_labels_are_read_exactly(tmp_path: Path, idx: Callable[..., bytes], compressed: bool) -> None:
    pack = gzip.compress if compressed else bytes
    (tmp_path / "images").write_bytes(pack(idx(IMAGES)))
    (tmp_path / "labels").write_bytes(pack(idx(LABELS)))
    assert np.array_equal(read_images(tmp_path / "images", "")[:, 0], IMAGES)
    assert np.array_equal(read_labels(tmp_path / "labels", 5, ""), LABELS)
    assert read_labels(tmp_path / "labels", 5, "").dtype == np.int64


def test_compression_is_told_by_content_and_not_by_name(tmp_path: Path) -> None:
    (tmp_path / "plain.gz").write_bytes(WHOLE)
    (tmp_path / "packed").write_bytes(gzip.compress(WHOLE))
    assert np.array_equal(read_idx(tmp_path / "plain.gz", 3, ""), read_idx(tmp_path / "packed", 3, ""))


PACKED = gzip.compress(WHOLE)
DAMAGED = {
    "empty": (b"", "the file is empty"),
    "web page": (b"<!DOCTYPE html><html><body>404</body></html>", "this is a web page"),
    "not gzip": (b"hello, world, here I am", "not a gzip file"),
    "truncated gz": (PACKED[: len(PACKED) // 2], "truncated"),
    "gz without its end": (PACKED[:-3], "truncated"),
    "flipped bit in gz": (PACKED[:-6] + bytes([PACKED[-6] ^ 1]) + PACKED[-5:], "damaged"),
    "rubbish after gz": (PACKED + b"rubbish", "damaged"),
    "header only": (gzip.compress(WHOLE[:9]), "ends in its header"),
    "two bytes": (gzip.compress(WHOLE[:2]), "ends in its header"),
    "wrong magic": (gzip.compress(b"\0\0\x0d\3" + WHOLE[4:]), "magic number 0x00000d03"),
    "labels in place of images": (gzip.compress(b"\0\0\x08\1" + WHOLE[4:]), "not 0x00000803 (IDX images)"),
    "too few values": (gzip.compress(WHOLE[:-1]), "declares 84 values (7, 4, 3), it holds 83"),
    "too many values": (gzip.compress(WHOLE + b"\0"), "too long"),
    "no rows": (gzip.compress(WHOLE[:4] + bytes(4) + WHOLE[8:16]), "declares no values"),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_named_with_what_is_wrong_and_the_fix(tmp_path: Path, damage: str) -> None:
    content, reason = DAMAGED[damage]
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        read_idx(path, 3, "Fetch it again")
    assert caught.value.where == str(path)
    assert reason in caught.value.what
    assert caught.value.fix == "Fetch it again"


def test_a_missing_file_and_a_folder_in_its_place_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(UserError, match="cannot be read") as caught:
            read_idx(path, 3, "")
        assert caught.value.where == str(path)


def test_a_pipe_and_a_device_in_its_place_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(UserError, match="not a plain file"):
            read_idx(path, 3, "")


def test_a_label_out_of_range_is_named_with_its_row(tmp_path: Path, idx: Callable[..., bytes]) -> None:
    (tmp_path / "labels").write_bytes(idx(LABELS))
    with pytest.raises(UserError, match="row 4 has label 4, but there are 4 classes"):
        read_labels(tmp_path / "labels", 4, "")


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_header_that_claims_two_billion_images_costs_no_memory(tmp_path: Path, pack: Callable[..., bytes]) -> None:
    path = tmp_path / "images"
    path.write_bytes(pack(WHOLE[:4] + (2**31).to_bytes(4, "big") + WHOLE[8:]))
    tracemalloc.start()
    with pytest.raises(UserError, match="declares 25769803776 values"):
        read_idx(path, 3, "")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=0, max_size=6), st.integers(0, 6), st.booleans())
@example(0, b"", 6, False)
def test_any_damage_gives_an_array_or_a_user_error(
    tmp_path: Path, place: int, written: bytes, removed: int, outside: bool
) -> None:
    """`outside` damages the compressed bytes, otherwise what was compressed."""
    whole = PACKED if outside else WHOLE
    place = min(place, len(whole))
    damaged = whole[:place] + written + whole[place + removed :]
    (tmp_path / "file").write_bytes(damaged if outside else gzip.compress(damaged))
    try:
        array = read_idx(tmp_path / "file", 3, "")
    except UserError:
        return
    assert array.dtype == np.uint8
    assert array.ndim == 3
    assert array.size > 0
