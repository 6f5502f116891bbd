"""One sha256 over all data of a run."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np

from gradinc.data.source import RowFiles, Source
from gradinc.data.text import Sequences


def content_digest(source: Source, part: np.ndarray, files: Sequence[bytes] | None) -> str:
    """Return the sha256 over raw rows, targets, groups and split, in hex.

    Rows in files count as their files: relative paths and contents, whether they are decoded
    once or on demand. A changed byte, a row in another part or a renamed file changes the digest;
    the location of the data does not.

    Args:
        source: the data set.
        part: the part of each row, int8, shape (n,).
        files: the sha256 of each file, if `source.x` is `RowFiles`.
    """
    whole = hashlib.sha256()
    x = source.x
    head = {
        "rows": [len(x), *source.shape],
        "values": _kind(x),
        "targets": [str(source.y.dtype), *source.y.shape],
        "classes": source.classes,
        "scale": source.scale,
    }
    whole.update(json.dumps(head).encode())
    if isinstance(x, RowFiles):
        assert files is not None
        for path, content in zip(x.paths, files, strict=True):
            whole.update(path.encode(errors="surrogateescape") + b"\0" + content)
    elif isinstance(x, Sequences):
        whole.update(json.dumps([x.text.words, x.text.each, x.text.packed]).encode())
        for array in (x.values, x.starts, x.lengths):
            whole.update(np.ascontiguousarray(array).data)
    else:
        whole.update(np.ascontiguousarray(x).data)
    whole.update(np.ascontiguousarray(source.y).data)
    whole.update(np.ascontiguousarray(part).data)
    if source.groups is not None:
        whole.update(json.dumps(source.group_names).encode() + np.ascontiguousarray(source.groups).tobytes())
    return whole.hexdigest()


def _kind(x: np.ndarray | RowFiles | Sequences) -> str:
    return str(x.dtype) if isinstance(x, np.ndarray) else "tokens" if isinstance(x, Sequences) else "files"
