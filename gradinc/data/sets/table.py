"""Rows of a CSV, TSV, JSONL or Parquet file of the user's own."""

from __future__ import annotations

import json
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from gradinc.base.errors import UserError
from gradinc.config.values import Count
from gradinc.data.columns import PART_NAMES, Columns, Roles, source_of
from gradinc.data.source import Source
from gradinc.data.text_files import read_text

_ENDINGS = (".csv", ".tsv", ".jsonl", ".parquet")


def table(
    root: str | None,
    *,
    text: str | None = None,
    label: str = "label",
    features: list[str] = [],  # noqa: B006  (read, never changed)
    task: Literal["auto", "classes", "values"] = "auto",
    tokenizer: str = "words",
    vocabulary: Literal["first", "all"] = "first",
    length: Count = 256,
) -> Source:
    """Your own table: data.root=FILE, a CSV, TSV, JSONL or Parquet file

    With data.text=NAME the inputs are the text of one column, otherwise the columns of numbers. A CSV or TSV file has a
    line with the names of its columns, and is UTF-8. data.root may also be a folder with files train, val and test.

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
        raise UserError("data.root", "table needs a file", f"Give data.root=FILE, with {' '.join(_ENDINGS)}")
    path = Path(root).expanduser()
    roles = Roles(text, label, features, task, tokenizer, vocabulary, length)
    return source_of({name: _columns(file) for name, file in _files(path, root).items()}, roles, str(path))


def _files(path: Path, root: str) -> dict[str, Path]:
    if path.is_file():
        return {"": path}
    if not path.is_dir():
        raise UserError(f"data.root={root}", "no such file or folder", f"Give a file, with {' '.join(_ENDINGS)}")
    found: dict[str, Path] = {}
    for file in sorted(path.iterdir()):
        if file.stem in PART_NAMES and file.suffix.lower() in _ENDINGS:
            if file.stem in found or (file.stem == "validation" and "val" in found):
                raise UserError(str(file), "is the second file of its part", "Keep one of them")
            found[file.stem] = file
    if "train" not in found:
        raise UserError(f"data.root={root}", "has no file train", f"Name it train, with {' '.join(_ENDINGS)}")
    return {name: found[name] for name in sorted(found, key=lambda name: name != "train")}


def _columns(path: Path) -> Columns:
    kind = path.suffix.lower()
    if kind == ".jsonl":
        return _json_lines(path)
    if kind not in _ENDINGS:
        raise UserError(str(path), "is no kind of table that can be read", f"Use {' '.join(_ENDINGS)}")
    try:
        import pyarrow
        from pyarrow import csv, parquet
    except ImportError:
        raise UserError(str(path), "needs pyarrow", "pip install gradinc[text]") from None
    if kind == ".parquet":
        try:
            found = parquet.read_table(path)
        except (pyarrow.ArrowException, OSError) as error:
            what = f"is not a Parquet file ({str(error).splitlines()[0]})"
            raise UserError(str(path), what, "Save it again") from None
        return Columns(
            path, {name: found[name].to_pylist() for name in found.column_names}, lambda row: f"row {row + 1}"
        )
    return _separated(path, "," if kind == ".csv" else "\t", pyarrow, csv)


def _separated(path: Path, delimiter: str, pyarrow: Any, csv: Any) -> Columns:
    content = read_text(path, "rows")
    names = next(iter(content.splitlines()))
    options = csv.ParseOptions(delimiter=delimiter, newlines_in_values=True)
    try:
        head = csv.read_csv(pyarrow.BufferReader(names.encode() + b"\n"), parse_options=options).column_names
        types = {name: pyarrow.string() for name in head}
        convert = csv.ConvertOptions(column_types=types, strings_can_be_null=False)
        reading = csv.ReadOptions(use_threads=False)
        source = pyarrow.BufferReader(content.encode())
        found = csv.read_csv(source, read_options=reading, parse_options=options, convert_options=convert)
    except pyarrow.ArrowException as error:
        what = str(error).splitlines()[0].replace("CSV parse error: ", "").replace("Row #", "line ")
        raise UserError(str(path), what, "Correct the line, or quote its text") from None
    if len(set(head)) < len(head):
        raise UserError(f"{path}, line 1", "two columns have the same name", "Rename one of them")
    values = {name: found[name].to_pylist() for name in found.column_names}
    breaks = [sum(cell.count("\n") for cell in row) for row in zip(*values.values(), strict=True)]
    lines = list(accumulate(breaks, initial=0))
    return Columns(path, values, lambda row: f"line {row + 2 + lines[row]}")


def _json_lines(path: Path) -> Columns:
    rows: list[dict[str, Any]] = []
    numbers: list[int] = []
    for number, line in enumerate(read_text(path, "rows").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            where = f"{path}, line {number}, column {error.colno}"
            raise UserError(where, f"is not JSON ({error.msg})", "Give one object in each line") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}", "is not a JSON object", "Give one object in each line")
        rows.append(row)
        numbers.append(number)
    names = dict.fromkeys(name for row in rows for name in row)
    values = {name: [row.get(name) for row in rows] for name in names}
    return Columns(path, values, lambda row: f"line {numbers[row]}")
