"""A safe reader of npz files: no pickle, and no memory for more than the file contains."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from gradinc.base.errors import UserError
from gradinc.base.files import open_plain
from gradinc.data.available_memory import available_memory

HEADER = 10_000
"""Largest header of an array in bytes, numpy's own limit."""


def array_names(path: Path) -> set[str]:
    """Return the names of the arrays in a file.

    Raises:
        UserError: the file does not exist, or is not an npz file.
    """
    with _reported(path), open_plain(path) as file, zipfile.ZipFile(file) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def read_npz(path: Path, wanted: Collection[str]) -> dict[str, np.ndarray]:
    """Return the wanted arrays of a file.

    Every header is compared with the size of its member, and all of them with the available memory,
    before anything is allocated. Object arrays would be pickles, which run code when they are
    read: they are refused, and so is everything else that is not a number.

    Raises:
        UserError: the file is damaged, has other content, or does not fit into memory.
    """
    with _reported(path), open_plain(path) as file:
        with zipfile.ZipFile(file) as archive:
            needed = sum(_checked(path, archive, name) for name in wanted)
        if needed > available_memory():
            what = f"its arrays take {needed / 2**30:.1f} GiB, more than the memory that is free"
            raise UserError(str(path), what, "Save fewer rows or a smaller dtype, or use data=image_folder")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in wanted}


def _checked(path: Path, archive: zipfile.ZipFile, name: str) -> int:
    """Return the size in bytes of an array, after a check of its header."""
    member = archive.getinfo(f"{name}.npy")
    with archive.open(member) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file, max_header_size=HEADER)
        start = file.tell()
    if dtype.hasobject:
        raise UserError(str(path), f"{name} holds Python objects, which are not read", "Save arrays of numbers")
    if dtype.kind not in "biuf":
        raise UserError(str(path), f"{name} holds {dtype}, not numbers", "Save arrays of numbers")
    size = math.prod(shape) * dtype.itemsize
    if size == 0:
        raise UserError(str(path), f"{name} has no values (shape {shape})", "Save at least one row")
    if start + size != member.file_size:
        what = f"{name} declares {size} bytes {shape} and holds {member.file_size - start}"
        raise UserError(str(path), what, "Save the file again with numpy.savez")
    return size


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn errors of a missing or damaged file into a UserError that names it."""
    fix = "Save the file again with numpy.savez"
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, ValueError, KeyError, NotImplementedError, RuntimeError) as error:
        raise UserError(str(path), f"not a readable npz file ({error})", fix) from None
    except FileNotFoundError:
        raise UserError(f"data.root={path}", "no such file", "Give data.root=FILE.npz") from None
    except OSError as error:
        raise UserError(f"data.root={path}", f"cannot be read ({error.strerror or error})", fix) from None
