"""The file of an offline run of W&B: a log in the format of LevelDB, of records as protocol buffers.

Format: https://github.com/google/leveldb/blob/main/doc/log_format.md, after a header of 7 bytes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BLOCK, _HEADER = 1 << 15, 7
"""Bytes of a block, and of the file's header and of that of each piece of a record."""

_WHOLE, _FIRST, _LAST = 1, 2, 4


def last_step(path: Path) -> int:
    """Return the largest step of a file's history, or −1."""
    return max((step for step, _ in history(path)), default=-1)


def history(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a file's history, up to the first that is not whole: step and values."""
    from wandb.proto import wandb_internal_pb2

    for content in _records(path.read_bytes()):
        record: Any = wandb_internal_pb2.Record()  # type: ignore[attr-defined]
        record.ParseFromString(content)
        if record.HasField("history"):
            items = record.history.item
            values = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
            yield record.history.step.num, values


def _records(content: bytes) -> Iterator[bytes]:
    place, record = _HEADER, b""
    while place + _HEADER <= len(content):
        if (left := _BLOCK - place % _BLOCK) < _HEADER:  # too short for another piece: it is empty
            place += left
            continue
        length, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        piece = content[place + _HEADER : place + _HEADER + length]
        if not kind or len(piece) < length:
            return
        record = piece if kind in (_WHOLE, _FIRST) else record + piece
        if kind in (_WHOLE, _LAST):
            yield record
        place += _HEADER + length
