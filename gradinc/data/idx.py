"""A safe reader of IDX files, the format of MNIST and its relatives.

An IDX file of bytes is 0, 0, 8, the number of dimensions, each dimension as a big-endian 32-bit
number, and the values. It may be compressed with gzip, which is detected from its content and not
from its name.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from gradinc.base.errors import UserError
from gradinc.base.files import open_plain

_PIECE = 1 << 20
"""Bytes read at a time: memory grows with the content of a file, never with the size in its header."""


def read_idx(path: Path, dimensions: int, fix: str) -> np.ndarray:
    """Return the values of an IDX file of unsigned bytes.

    Args:
        path: the file, compressed or not.
        dimensions: required number: 1 for labels, 3 for images.
        fix: the fix for a damaged file.

    Returns:
        A uint8 array with this number of dimensions, none of them 0.

    Raises:
        UserError: the file is missing, unreadable, empty, truncated, too long, a web page, or not
            an IDX file of that kind.
    """
    try:
        with open_plain(path) as file:
            start = file.read(512)
            file.seek(0)
            if not start:
                raise UserError(str(path), "the file is empty", fix)
            if start.lstrip().startswith(b"<"):
                raise UserError(str(path), "this is a web page, not data", fix)
            if start.startswith(b"\x1f\x8b"):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    return _parse(cast(BinaryIO, unpacked), path, dimensions, fix)
            if path.suffix == ".gz" and not start.startswith(b"\0\0"):
                raise UserError(str(path), "not a gzip file", fix)
            return _parse(file, path, dimensions, fix)
    except EOFError:
        raise UserError(str(path), "the compressed data are truncated", fix) from None
    except (zlib.error, gzip.BadGzipFile):
        raise UserError(str(path), "the compressed data are damaged", fix) from None
    except OSError as error:
        raise UserError(str(path), f"cannot be read ({error.strerror or error})", fix) from None


def read_images(path: Path, fix: str) -> np.ndarray:
    """Return images of an IDX file, uint8, shape (n, 1, H, W)."""
    return read_idx(path, 3, fix)[:, None]


def read_labels(path: Path, classes: int, fix: str) -> np.ndarray:
    """Return labels of an IDX file, int64, shape (n,), each below `classes`."""
    labels = read_idx(path, 1, fix)
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        row = int(wrong[0])
        raise UserError(str(path), f"row {row} has label {labels[row]}, but there are {classes} classes", fix)
    return labels.astype(np.int64)


def _parse(file: BinaryIO, path: Path, dimensions: int, fix: str) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4:
        raise UserError(str(path), "truncated: the file ends in its header", fix)
    if magic != bytes((0, 0, 8, dimensions)):
        kind = {1: "labels", 3: "images"}[dimensions]
        raise UserError(str(path), f"magic number 0x{magic.hex()}, not 0x0000080{dimensions} (IDX {kind})", fix)
    header = file.read(4 * dimensions)
    if len(header) < 4 * dimensions:
        raise UserError(str(path), "truncated: the file ends in its header", fix)
    shape = tuple(int.from_bytes(header[i : i + 4], "big") for i in range(0, 4 * dimensions, 4))
    size = math.prod(shape)
    if size == 0:
        raise UserError(str(path), f"its header declares no values (shape {shape})", fix)
    values = bytearray()
    while piece := file.read(min(_PIECE, size + 1 - len(values))):
        values += piece
    if len(values) < size:
        raise UserError(str(path), f"truncated: its header declares {size} values {shape}, it holds {len(values)}", fix)
    if len(values) > size:
        raise UserError(str(path), f"too long: bytes follow the {size} values {shape} that its header declares", fix)
    return np.frombuffer(values, np.uint8).reshape(shape)
