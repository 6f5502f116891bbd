"""Files of text for a language model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge

from gradinc.base.errors import UserError
from gradinc.data.source import Source
from gradinc.data.text_files import read_text
from gradinc.data.tokenizing import blocks_of_tokens


def text(
    root: str | None,
    *,
    files: str = "*.txt",
    tokenizer: str = "bytes",
    vocabulary: Literal["first", "all"] = "first",
    length: Annotated[int, Ge(2)] = 128,
    pack: bool = False,
) -> Source:
    """Your own texts for a language model: each token predicts the next

    data.root is a file, or a folder whose files have names like data.files, at any depth. A text is cut into rows of
    data.length tokens; the last row of a text is shorter. With stream=domains each folder directly in data.root is a
    task, for example a language or an author. A row is a test, validation or training row by data.test and
    data.validation, with the same share of every folder.

    Args:
        files: pattern of the files' names.
        tokenizer: bytes, words, or the path of a tokenizer.json.
        vocabulary: words that are known: of the training rows of the first task, or of all tasks.
        length: tokens of a row.
        pack: true joins the ends of texts to rows of up to data.length tokens; no text sees another one.
    """
    if root is None:
        raise UserError("data.root", "text needs a file or a folder", f"Give data.root=DIR with files {files}")
    folder = Path(root).expanduser()
    paths = (
        [folder]
        if folder.is_file()
        else sorted(path for path in folder.rglob(files) if path.is_file() and not _hidden(path.relative_to(folder)))
    )
    if not paths:
        what = "no such file or folder" if not folder.exists() else f"has no files {files}"
        raise UserError(f"data.root={root}", what, "Give data.root=DIR and data.files=PATTERN")
    sequences, owners = blocks_of_tokens([read_text(path) for path in paths], tokenizer, vocabulary, length, pack)
    groups: np.ndarray | None = None
    names = () if folder.is_file() else tuple(sorted({path.relative_to(folder).parts[0] for path in paths}))
    if names and all(len(path.relative_to(folder).parts) > 1 for path in paths):
        group_of = np.array([names.index(path.relative_to(folder).parts[0]) for path in paths], np.int64)
        groups = group_of[owners]
    targets = np.zeros(len(sequences), np.int64)
    return Source(
        sequences, targets, None, None, 1.0, str(folder), groups=groups, group_names=names if groups is not None else ()
    )


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
