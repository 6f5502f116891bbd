"""What a run writes down while it goes: metrics for comparing, timings for people."""

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
    """A file of JSON lines that a restart cuts back to where its checkpoint was taken.

    Attributes:
        offset: bytes written so far; it belongs into every checkpoint.
    """

    def __init__(self, path: Path, offset: int = 0, digest: str | None = None) -> None:
        """Open the log, cutting off all that came after `offset`.

        Args:
            path: the file.
            offset: bytes of it that are kept.
            digest: SHA-256 that they must have, where that was written down.

        Raises:
            UserError: the file is shorter than that, or these bytes are not those that were written.
            StorageError: it could not be written.
        """
        self.path = path
        self._total = hashlib.sha256()
        mend = "Bring the old file back, or use fresh=true to start again"
        with storing(path):
            lost = offset - (path.stat().st_size if path.exists() else 0)
            if lost > 0:
                what = f"has lost its last {lost:,} bytes since the last checkpoint"
                raise UserError(str(path), what, mend)
            self._read(offset)
            if digest is not None and digest != self.digest:
                raise UserError(str(path), "was changed since the last checkpoint", mend)
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115  (it lives as long as the run)
            os.ftruncate(self._file.fileno(), offset)
        self.offset = offset

    def write(self, line: dict[str, Any]) -> None:
        """Append one line. Numbers that JSON has no word for, NaN and the infinities, become null."""
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
        """SHA-256 over what was written so far, as hexadecimal digits; it belongs into every checkpoint."""
        return self._total.hexdigest()

    def _read(self, offset: int) -> None:
        """Take in what is kept of an earlier start."""
        if offset:
            with open(self.path, "rb") as file:
                while piece := file.read(min(_PIECE, offset - file.tell())):
                    self._total.update(piece)

    def _append(self, content: bytes) -> None:
        while content:  # where room runs out, a part is written first, and only the next attempt fails
            content = content[self._file.write(content) :]

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        with storing(self.path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class NoLog:
    """The log of a process that leaves writing to another."""

    offset = 0
    digest = ""

    def write(self, line: dict[str, Any]) -> None:
        """Nothing is written."""

    def sync(self) -> None:
        """There is nothing to keep."""

    def close(self) -> None:
        """There is nothing to close."""


def whole_lines(path: Path) -> int:
    """Bytes up to the end of the last whole line of a log, 0 where there is none."""
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
"""Letters of a line of a log; a row of a thousand tasks has a thousandth of it."""

MOST_BRACKETS = 200
"""Brackets in a line of a log."""


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON objects of a log, one a line; a line that is none, as after a kill, ends it."""
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
    """All lines of a log up to the first that is no JSON object."""
    return list(read_lines(path))


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
