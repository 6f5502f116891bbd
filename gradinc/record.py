"""What a run writes down while it goes: metrics for comparing, timings for people."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from gradinc.crash import crash_point
from gradinc.files import storage_error


class Log:
    """A file of JSON lines that a restart cuts back to where its checkpoint was taken.

    Attributes:
        offset: bytes written so far; it belongs into every checkpoint.
    """

    def __init__(self, path: Path, offset: int = 0) -> None:
        """Open the log, cutting off all that came after `offset`."""
        self.path = path
        try:
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115  (it lives as long as the run)
            os.ftruncate(self._file.fileno(), offset)
        except OSError as error:
            raise storage_error(path, error) from error
        self.offset = offset

    def write(self, line: dict[str, Any]) -> None:
        """Append one line. Numbers that JSON has no word for, NaN and the infinities, become null."""
        content = (json.dumps(_plain(line), ensure_ascii=False) + "\n").encode()
        try:
            half = len(content) // 2
            self._file.write(content[:half])
            crash_point("mid-line")
            self._file.write(content[half:])
        except OSError as error:
            raise storage_error(self.path, error, len(content)) from error
        self.offset += len(content)

    def sync(self) -> None:
        """Make what was written survive a power cut."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise storage_error(self.path, error) from error

    def close(self) -> None:
        self._file.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """All whole lines of a log."""
    lines = []
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(line))
            except ValueError:
                break  # a line that was being written when the run was killed
    return lines


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
