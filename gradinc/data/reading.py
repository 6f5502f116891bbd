"""Reading of files with one row each: hashed and decoded in threads, with reports of broken files."""

from __future__ import annotations

import hashlib
import math
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np

from gradinc.base.errors import UserError
from gradinc.base.files import open_plain
from gradinc.data.source import RowFiles

GROUP, GROUP_BYTES = 256, 2**25
"""Largest number of rows that are read together when a whole data set is read, and of their bytes."""

Decoded = tuple[np.ndarray, list[bytes]]
"""Rows, shape (n, *shape), and the sha256 of each file."""


def read_all(files: RowFiles) -> Iterator[Decoded]:
    """Yield all rows in groups, in the order of their paths. See `read_rows`."""
    everything = range(len(files))
    row = math.prod(files.shape) * np.dtype(files.dtype).itemsize
    size = max(files.threads, min(GROUP, GROUP_BYTES // row))
    with files.first_reading():
        yield from read_groups(files, (everything[first : first + size] for first in everything[::size]))


def read_groups(files: RowFiles, groups: Iterable[Sequence[int]]) -> Iterator[Decoded]:
    """Yield the rows of each group of row numbers, one group ahead, in threads. See `read_rows`."""
    count = files.threads
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[list[Future[Decoded]]] = deque()
        for rows in groups:
            size = -(-len(rows) // count)
            pieces = [rows[first : first + size] for first in range(0, len(rows), size)]
            waiting.append([pool.submit(read_rows, files, piece) for piece in pieces])
            if len(waiting) > 1:
                yield _joined(waiting.popleft())
        for futures in waiting:
            yield _joined(futures)


def _joined(pieces: list[Future[Decoded]]) -> Decoded:
    rows, digests = zip(*(piece.result() for piece in pieces), strict=True)
    return np.concatenate(rows), [digest for some in digests for digest in some]


def read_rows(files: RowFiles, rows: Sequence[int]) -> Decoded:
    """Read each file once: its bytes are hashed and decoded.

    Raises:
        UserError: a file is broken, does not fit the others, or was changed since the data set was read.
    """
    decoded = np.empty((len(rows), *files.shape), files.dtype)
    digests = []
    for place, row in enumerate(rows):
        path = os.path.join(files.root, files.paths[row])
        with reported(files, path):
            with open_plain(path) as file:
                content = file.read()
            digest = hashlib.sha256(content).digest()
            if files.digest(row) not in (None, digest):
                fix = "Restore it and give the same command again, or add fresh=true to train on the new data"
                raise UserError(path, "was changed while the run read it", fix)
            decoded[place] = files.decode(row, content)
        digests.append(digest)
    return decoded, digests


@contextmanager
def reported(files: RowFiles, path: str) -> Iterator[None]:
    """Turn errors of a broken file into a UserError that names the file."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise UserError(path, files.failure(error), "Replace the file or remove it") from None
