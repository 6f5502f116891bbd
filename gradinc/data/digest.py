"""One sha256 over everything that a run's data consist of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from gradinc.data.source import ImageFiles, Source


def content_digest(source: Source, part: np.ndarray, files: Sequence[bytes] | None) -> str:
    """sha256 over raw rows, targets and split, in hex.

    Images in a folder count as their files: relative paths and contents, whether they are decoded
    once or as they are needed. One byte changed, a row moved to another part or a file renamed gives
    another digest; where the data lie does not matter.

    Args:
        source: the data set.
        part: the part of each row, int8, shape (n,).
        files: the sha256 of each file, where `source.x` is `ImageFiles`.
    """
    whole = hashlib.sha256()
    x = source.x
    head = {
        "rows": [len(x), *source.shape],
        "values": str(x.dtype) if isinstance(x, np.ndarray) else "files",
        "targets": [str(source.y.dtype), *source.y.shape],
        "classes": source.classes,
        "scale": source.scale,
    }
    whole.update(json.dumps(head).encode())
    if isinstance(x, ImageFiles):
        assert files is not None
        for path, content in zip(x.paths, files, strict=True):
            whole.update(path.encode(errors="surrogateescape") + b"\0" + content)
    else:
        whole.update(np.ascontiguousarray(x).data)
    whole.update(np.ascontiguousarray(source.y).data)
    whole.update(np.ascontiguousarray(part).data)
    return whole.hexdigest()
