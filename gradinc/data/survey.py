"""One pass over the raw rows of a data set, and the record of a pass over image files that can be reused."""

from __future__ import annotations

import hashlib
import os
import time
from contextlib import suppress
from pathlib import Path

import numpy as np

from gradinc.base.errors import StorageError
from gradinc.base.files import write_whole
from gradinc.data.locations import cache_folder
from gradinc.data.reading import read_all
from gradinc.data.source import TRAIN, RowFiles, Source, Statistics
from gradinc.data.statistics import moments

SETTLED = 2_000_000_000
"""Nanoseconds since the last change of a file from which its times are trusted: one step of the coarsest clock in use,
FAT's. A younger file could change again within the step."""


class Survey:
    """One pass over the raw rows: their digests, their statistics and, in memory, their values.

    Every file is decoded here, so that a broken file is reported before anything else starts. Only streamed files
    that have not changed since an earlier pass are not read again.

    Attributes:
        x: raw rows, or None if they are streamed.
        files: sha256 of each file, or None if the rows are not files.
        statistics: sums over the training rows, if the rows are files.
    """

    def __init__(self, source: Source, part: np.ndarray, in_memory: bool) -> None:
        self.x: np.ndarray | None = None
        self.files: list[bytes] | None = None
        self.statistics: Statistics | None = None
        if isinstance(source.x, np.ndarray):
            self.x = source.x
            return
        files = source.x
        assert isinstance(files, RowFiles)
        self.x = np.empty((len(files), *files.shape), files.dtype) if in_memory else None
        self.files, self.statistics = [], files.statistics()
        record = None if in_memory else Record(files, part)
        if record is not None and record.recall(self.files, self.statistics):
            return
        for values, digests in read_all(files):
            rows = slice(len(self.files), len(self.files) + len(values))
            self.files += digests
            if self.x is not None:
                self.x[rows] = values
            self.statistics.add(values[part[rows] == TRAIN])
        if record is not None:
            record.store(self.files, self.statistics)

    def moments(self, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the training rows, in raw units."""
        if self.statistics is not None:
            return self.statistics.moments()
        assert self.x is not None
        return moments(self.x[train])


class Record:
    """The digests of files and the sums over their rows, stored in the user's cache.

    They are reused only if nothing on which they depend has changed: each file's path, size, inode and times of
    change, the split, the shape of the rows, and the code that decodes. The times include the time of the
    file's last status change (ctime), which programs cannot set. A streamed file is hashed again whenever it is read,
    so that a change that these numbers do not show is found, too.

    Args:
        files: the files.
        part: the part of each row, int8, shape (n,).
    """

    def __init__(self, files: RowFiles, part: np.ndarray) -> None:
        root = os.path.realpath(files.root)
        place = hashlib.sha256(f"{root}\0{files.key}".encode(errors="surrogateescape")).hexdigest()
        self.path: Path = cache_folder(files.cache) / place
        self._state = _state(files, part)
        self._rows = len(files)

    def recall(self, digests: list[bytes], statistics: Statistics) -> bool:
        """Load the stored values, and return whether they are still valid."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return False
        end = 32 * self._rows
        body, check = content[:-32], content[-32:]
        if self._state is None or check != hashlib.sha256(self._state + body).digest():
            return False
        digests += [body[first : first + 32] for first in range(0, end, 32)]
        totals = statistics.totals
        totals += np.frombuffer(body[end:], totals.dtype).reshape(totals.shape)
        return True

    def store(self, digests: list[bytes], statistics: Statistics) -> None:
        """Replace the stored values. If the cache cannot be written, the run continues without it."""
        if self._state is None:
            return
        body = b"".join(digests) + statistics.totals.tobytes()
        with suppress(OSError, StorageError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.path, body + hashlib.sha256(self._state + body).digest())


def _state(files: RowFiles, part: np.ndarray) -> bytes | None:
    """Return a sha256 of what a record depends on; None if a file changed too recently or cannot be examined."""
    state = hashlib.sha256(files.recipe + part.tobytes())
    newest = 0
    for path in files.paths:
        try:
            found = os.stat(os.path.join(files.root, path))
        except OSError:
            return None
        newest = max(newest, found.st_mtime_ns, found.st_ctime_ns)
        numbers = f"\0{found.st_mode} {found.st_size} {found.st_ino} {found.st_mtime_ns} {found.st_ctime_ns}\n"
        state.update(path.encode(errors="surrogateescape") + numbers.encode())
    return state.digest() if newest + SETTLED < time.time_ns() else None
