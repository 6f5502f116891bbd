"""A full read of a data set, to check that every part of it can be read."""

from __future__ import annotations

from typing import Any

from gradinc.data.availability import CheckedData
from gradinc.data.dataset import open_source
from gradinc.data.reading import read_all
from gradinc.data.source import DATA_PARTS, RowFiles
from gradinc.data.text import Sequences


def read_whole(name: str, root: str | None, options: dict[str, Any]) -> CheckedData:
    """Read a data set and decode every file in it. See `gradinc.data.availability.prepare_data`."""
    source = open_source(name, root, options)
    if isinstance(source.x, RowFiles):
        for _ in read_all(source.x):
            pass
    official = {}
    if source.part is not None:
        counts = {part: int((source.part == number).sum()) for number, part in enumerate(DATA_PARTS)}
        official = {part: count for part, count in counts.items() if count}
    text = source.x.text if isinstance(source.x, Sequences) else None
    each = text is not None and text.each
    head = (name, source.origin, len(source.y), official, source.shape, source.classes)
    return CheckedData(*head, text is not None, each)
