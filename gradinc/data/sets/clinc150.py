"""Utterances of 150 intents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gradinc.base.errors import UserError
from gradinc.config.values import Count
from gradinc.data.source import TEST, TRAIN, VALIDATION, Source
from gradinc.data.text_files import read_text
from gradinc.data.tokenizing import rows_of_tokens

_PARTS = {"train": TRAIN, "val": VALIDATION, "test": TEST}
"""Parts of ``data_full.json`` that are used: utterances of no intent (``oos_*``) are left out."""

_FILES = "data_full.json and domains.json of CLINC150"


def clinc150(
    root: str | None,
    *,
    tokenizer: str = "words",
    vocabulary: Literal["first", "all"] = "first",
    length: Count = 256,
) -> Source:
    """Utterances to an assistant: 22,500 of 150 intents in 10 domains

    data.root=DIR contains data_full.json and domains.json. The official parts have 15,000, 3,000 and 4,500 rows.
    Intents are numbered by domain, so that stream=split stream.tasks=10 makes one task of each domain.

    Paper: Larson et al. 2019, arXiv 1909.02027
    Title: An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction
    Authors: Stefan Larson, Anish Mahendran, Joseph J. Peper, Christopher Clarke, Andrew Lee, Parker Hill, Jonathan K.
        Kummerfeld, Kevin Leach, Michael A. Laurenzano, Lingjia Tang, Jason Mars

    Args:
        tokenizer: bytes, words, or the path of a tokenizer.json.
        vocabulary: words that are known: of the training rows of the first task, or of all tasks.
        length: largest number of tokens of a row; longer rows are cut.
    """
    if root is None:
        raise UserError("data.root", "clinc150 needs a folder", f"Give data.root=DIR with {_FILES}")
    folder = Path(root).expanduser()
    domains, whole = _json(folder / "domains.json"), _json(folder / "data_full.json")
    if not all(isinstance(own, list) for own in domains.values()):
        raise _other(folder / "domains.json", "is not a list of intents for each domain")
    classes = tuple(intent for own in domains.values() for intent in own)
    numbers = {intent: number for number, intent in enumerate(classes)}
    texts: list[str] = []
    labels: list[int] = []
    parts: list[int] = []
    for name, part in _PARTS.items():
        rows = whole.get(name)
        if not isinstance(rows, list) or not rows:
            raise _other(folder / "data_full.json", f"has no rows in {name}")
        for place, row in enumerate(rows):
            if not (isinstance(row, list) and len(row) == 2 and all(isinstance(each, str) for each in row)):
                raise _other(folder / "data_full.json", f"{name}[{place}] is not [text, intent]")
            if row[1] not in numbers:
                raise _other(folder / "data_full.json", f"{name}[{place}] has intent {row[1]!r}, which no domain has")
            texts.append(row[0])
            labels.append(numbers[row[1]])
            parts.append(part)
    sequences = rows_of_tokens(texts, tokenizer, vocabulary, length)
    return Source(sequences, np.array(labels), classes, np.array(parts, np.int8), 1.0, str(folder))


def _json(path: Path) -> dict[str, Any]:
    text = read_text(path, "JSON")
    try:
        content = json.loads(text)
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}, column {error.colno}"
        raise UserError(where, f"is not JSON ({error.msg})", f"Use {_FILES}") from None
    if not isinstance(content, dict):
        raise _other(path, "is not a JSON object")
    return content


def _other(path: Path, what: str) -> UserError:
    return UserError(str(path), what, f"Use {_FILES}")
