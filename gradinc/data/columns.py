"""Rows of named columns: one text or several numbers as the input, and one label."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gradinc.base.errors import UserError
from gradinc.data.source import TEST, TRAIN, VALIDATION, Source
from gradinc.data.text import Vocabulary
from gradinc.data.tokenizing import rows_of_tokens

PART_NAMES = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": TEST}
"""Names of official parts."""


@dataclass(frozen=True)
class Columns:
    """One file of rows.

    Attributes:
        where: the file.
        values: each column's values; text, numbers or None.
        place: the place of a row in the file, from its number, e.g. ``line 4``.
        names: names of classes by number, for columns that hold such numbers.
    """

    where: Path
    values: Mapping[str, Sequence[Any]]
    place: Callable[[int], str]
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(next(iter(self.values.values()), ()))

    def wrong(self, row: int, column: str, what: str, fix: str) -> UserError:
        """Return the error for one cell."""
        return UserError(f"{self.where}, {self.place(row)}, column {column}", what, fix)

    def column(self, name: str, key: str) -> Sequence[Any]:
        """Return the values of a column that an option names."""
        if name not in self.values:
            fix = f"Give {key}=NAME, one of: {', '.join(self.values) or 'no columns'}"
            raise UserError(str(self.where), f"has no column {name!r}", fix)
        return self.values[name]


@dataclass(frozen=True)
class Roles:
    """The columns that are used, and how.

    Attributes:
        text: the column of the text; None if the inputs are numbers.
        label: the column of the target.
        features: the columns of numbers; empty for all columns with numbers besides the label.
        task: ``classes``, ``values``, or ``auto``: numbers with a fraction are values, all others are classes.
    """

    text: str | None
    label: str
    features: Sequence[str]
    task: Literal["auto", "classes", "values"]
    tokenizer: str
    vocabulary: Vocabulary
    length: int


def source_of(parts: Mapping[str, Columns], roles: Roles, origin: str) -> Source:
    """Return the data set in some files.

    Args:
        parts: the rows of each official part, or of the part "" without official parts.
    """
    every = list(parts.values())
    for each in every:
        if len(each) == 0:
            raise UserError(str(each.where), "has no rows", "Fill the file or remove it")
    targets, classes = _targets(parts, roles)
    numbers = [PART_NAMES.get(name, TRAIN) for name in parts]
    part = None if list(parts) == [""] else np.repeat(np.array(numbers, np.int8), [len(each) for each in every])
    if roles.text is not None:
        texts = [text for each in every for text in _texts(each, roles.text)]
        x: Any = rows_of_tokens(texts, roles.tokenizer, roles.vocabulary, roles.length)
    else:
        x = np.concatenate([_features(each, roles, every[0]) for each in every])
    return Source(x, targets, classes, part, 1.0, origin, classes is None)


def _texts(columns: Columns, name: str) -> list[str]:
    texts = []
    for row, value in enumerate(columns.column(name, "data.text")):
        if not isinstance(value, str):
            what = "is missing" if value is None else f"is {value!r}, not text"
            raise columns.wrong(row, name, what, "Give text, or remove the row")
        texts.append(value)
    return texts


def _features(columns: Columns, roles: Roles, first: Columns) -> np.ndarray:
    names = list(roles.features) or [
        name for name, values in first.values.items() if name != roles.label and _number(values[0]) is not None
    ]
    if not names:
        fix = "Give data.text=NAME for a column of text"
        raise UserError(str(columns.where), "has no column of numbers besides the label", fix)
    found = []
    for name in names:
        numbers = []
        for row, value in enumerate(columns.column(name, "data.features")):
            number = _number(value)
            if number is None or not np.isfinite(number):
                what = "is missing" if value in (None, "") else f"is {value!r}, not a number"
                raise columns.wrong(row, name, what, "Give a number, remove the row, or leave out the column")
            numbers.append(number)
        found.append(np.array(numbers, np.float32))
    return np.stack(found, 1)


def _targets(parts: Mapping[str, Columns], roles: Roles) -> tuple[np.ndarray, tuple[str, ...] | None]:
    name, found = roles.label, []
    for columns in parts.values():
        for row, value in enumerate(columns.column(name, "data.label")):
            if value is None or value == "":
                raise columns.wrong(row, name, "is missing", "Give a label, or remove the row")
            found.append((columns, row, value))
    numbers = [_number(value) for _, _, value in found]
    whole = all(number is not None and number == round(number) for number in numbers if number is not None)
    fraction = any(number is not None and number != round(number) for number in numbers)
    if roles.task == "values" or (roles.task == "auto" and fraction):
        for (columns, row, value), number in zip(found, numbers, strict=True):
            if number is None or not np.isfinite(number):
                fix = "Give a number, or data.task=classes"
                raise columns.wrong(row, name, f"is {value!r}, not a number", fix)
        return np.array(numbers, np.float32)[:, None], None
    first = next(iter(parts.values()))
    names = first.names.get(name)
    labels = [names[value] if names and isinstance(value, int) else str(value) for _, _, value in found]
    trained = set(labels[: len(first)])
    classes = tuple(
        names
        or sorted(trained, key=lambda each: (float(each), each) if whole and _number(each) is not None else (0.0, each))
    )
    if len(trained) < 2:
        raise UserError(str(first.where), f"column {name} has one class only ({labels[0]})", "Give two or more")
    index = {each: number for number, each in enumerate(classes)}
    for (columns, row, _), label in zip(found, labels, strict=True):
        if label not in trained:
            what = f"is class {label!r}, which has no training rows"
            raise columns.wrong(row, name, what, "Add training rows, or remove the row")
    return np.array([index[label] for label in labels], np.int64), classes


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
