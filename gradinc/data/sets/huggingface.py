"""A data set in the form of the library ``datasets``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from gradinc.base.errors import UserError
from gradinc.config.values import Count
from gradinc.data.columns import PART_NAMES, Columns, Roles, source_of
from gradinc.data.source import Source


def huggingface(
    root: str | None,
    *,
    text: str | None = "text",
    label: str = "label",
    features: list[str] = [],  # noqa: B006  (read, never changed)
    task: Literal["auto", "classes", "values"] = "auto",
    tokenizer: str = "words",
    vocabulary: Literal["first", "all"] = "first",
    length: Count = 256,
) -> Source:
    """A folder that the library datasets saved, or a name on its hub

    data.root=DIR is a folder of save_to_disk, with one data set or with the splits train, validation and test. A name
    that is no folder is downloaded.

    Args:
        text: name of the column with the text; null for numbers.
        label: name of the column with the label or the target.
        features: names of the columns with numbers; [] takes all with a number in the first row, besides the label.
        task: meaning of the label. auto: numbers with a fraction are values of a regression, all others are classes.
        tokenizer: bytes, words, or the path of a tokenizer.json.
        vocabulary: words that are known: of the training rows of the first task, or of all tasks.
        length: largest number of tokens of a row; longer rows are cut.
    """
    if root is None:
        raise UserError("data.root", "huggingface needs a folder", "Give data.root=DIR, a folder of save_to_disk")
    try:
        import datasets
    except ImportError:
        raise UserError("data=huggingface", "needs datasets", "pip install gradinc[huggingface]") from None
    path = Path(root).expanduser()
    try:
        found = datasets.load_from_disk(str(path)) if path.exists() else datasets.load_dataset(root)
    except Exception as error:  # the library raises many kinds
        what = f"cannot be read by datasets ({str(error).splitlines()[0]})"
        raise UserError(f"data.root={root}", what, "Give data.root=DIR, a folder of save_to_disk") from None
    splits = dict(found) if isinstance(found, datasets.DatasetDict) else {"": found}
    if "" not in splits:
        splits = {name: splits[name] for name in sorted(splits, key=lambda name: name != "train") if name in PART_NAMES}
        if "train" not in splits:
            raise UserError(f"data.root={root}", "has no split train", "Name the splits train, validation and test")
    roles = Roles(text, label, features, task, tokenizer, vocabulary, length)
    return source_of({name: _columns(path, name, split) for name, split in splits.items()}, roles, str(root))


def _columns(path: Path, name: str, split: Any) -> Columns:
    names = {key: kind.names for key, kind in split.features.items() if hasattr(kind, "names")}
    values = {key: list(split[key]) for key in split.column_names}
    return Columns(path / name, values, lambda row: f"row {row + 1}", names)
