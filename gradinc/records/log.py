"""Logs that a run writes during training: metrics for comparison, timings for people."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gradinc.base.crash import crash_point
from gradinc.base.errors import UserError
from gradinc.base.files import open_plain, storing

_PIECE = 1 << 20
"""Bytes that are read at a time."""


class Log:
    """A file of JSON lines that a restart cuts back to its length at the checkpoint.

    Attributes:
        offset: bytes written so far; every checkpoint stores it.
    """

    def __init__(self, path: Path, offset: int = 0, digest: str | None = None) -> None:
        """Open the log and cut off all content after `offset`.

        Args:
            path: the file.
            offset: number of bytes to keep.
            digest: expected SHA-256 of these bytes, if recorded.

        Raises:
            UserError: the file is too short, or these bytes were changed.
            StorageError: it could not be written.
        """
        self.path = path
        self._total = hashlib.sha256()
        fix = "Restore the old file, or use fresh=true to start again"
        with storing(path):
            lost = offset - (path.stat().st_size if path.exists() else 0)
            if lost > 0:
                what = f"has lost its last {lost:,} bytes since the last checkpoint"
                raise UserError(str(path), what, fix)
            self._read(offset)
            if digest is not None and digest != self.digest:
                raise UserError(str(path), "was changed since the last checkpoint", fix)
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115  (it lives as long as the run)
            os.ftruncate(self._file.fileno(), offset)
        self.offset = offset

    def write(self, line: dict[str, Any]) -> None:
        """Append one line. NaN and the infinities, which JSON cannot express, become null."""
        content = (json.dumps(_plain(line), ensure_ascii=False) + "\n").encode()
        half = len(content) // 2
        with storing(self.path, len(content)):
            self._append(content[:half])
            crash_point("mid-line")
            self._append(content[half:])
        self._total.update(content)
        self.offset += len(content)

    @property
    def digest(self) -> str:
        """Return the SHA-256 of the content so far, as hexadecimal digits; every checkpoint stores it."""
        return self._total.hexdigest()

    def _read(self, offset: int) -> None:
        """Read the content of an earlier start."""
        if offset:
            with open(self.path, "rb") as file:
                while piece := file.read(min(_PIECE, offset - file.tell())):
                    self._total.update(piece)

    def _append(self, content: bytes) -> None:
        while content:  # on a full disk a part is written first, and only the next attempt fails
            content = content[self._file.write(content) :]

    def sync(self) -> None:
        """Make the content survive a power failure."""
        with storing(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class NoLog:
    """The log of a process that does not write."""

    offset = 0
    digest = ""

    def write(self, line: dict[str, Any]) -> None:
        """Write nothing."""

    def sync(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


def whole_lines(path: Path) -> int:
    """Return the number of bytes up to the end of the last whole line of a log."""
    if not path.exists():
        return 0
    with open(path, "rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end:
            begin = max(0, end - _PIECE)
            file.seek(begin)
            if (last := file.read(end - begin).rfind(b"\n")) >= 0:
                return begin + last + 1
            end = begin
    return 0


LONGEST_LINE = 16 << 20
"""Largest number of characters in a line of a log; a row of a thousand tasks needs a thousandth of them."""

MOST_BRACKETS = 200
"""Largest number of brackets in a line of a log."""


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects of a log, one a line, up to the first other line, for example after a kill."""
    try:
        with io.TextIOWrapper(open_plain(path), encoding="utf-8", errors="replace", newline="\n") as file:
            while line := file.readline(LONGEST_LINE):
                value = json.loads(line) if line.count("{") + line.count("[") < MOST_BRACKETS else None
                if not isinstance(value, dict):
                    return
                yield value
    except (OSError, ValueError):
        return


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return all lines of a log up to the first that is not a JSON object."""
    return list(read_lines(path))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
