"""Texts in a folder of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from gradinc.base.errors import UserError
from gradinc.config.values import Count
from gradinc.data.folder import TEXT_FILES, scan
from gradinc.data.source import Source
from gradinc.data.text_files import read_text
from gradinc.data.tokenizing import rows_of_tokens


def text_folder(
    root: str | None,
    *,
    tokenizer: str = "words",
    vocabulary: Literal["first", "all"] = "first",
    length: Count = 256,
) -> Source:
    """Your own texts: data.root=DIR with a folder of .txt files for each class

    DIR/<class>/*.txt is split by data.validation and data.test; DIR/train/<class>/*.txt, DIR/val and
    DIR/test are used as they are. Files are UTF-8, with or without a byte order mark.

    Args:
        tokenizer: bytes, words, or the path of a tokenizer.json.
        vocabulary: words that are known: of the training rows of the first task, or of all tasks.
        length: largest number of tokens of a row; longer rows are cut.
    """
    if root is None:
        fix = f"Give data.root=DIR, laid out as {TEXT_FILES.layout}"
        raise UserError("data.root", "text_folder needs a folder", fix)
    folder = Path(root).expanduser()
    paths, classes, y, part = scan(folder, TEXT_FILES)
    sequences = rows_of_tokens([read_text(folder / path) for path in paths], tokenizer, vocabulary, length)
    return Source(sequences, y, classes, part, 1.0, str(folder))
