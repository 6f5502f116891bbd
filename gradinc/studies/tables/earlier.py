"""The runs in a JSON file that ``gradinc table`` wrote earlier, perhaps on another machine."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from gradinc.base.errors import UserError
from gradinc.base.text import printable
from gradinc.config.names import shown
from gradinc.records.schemas import read_json
from gradinc.studies.tables.collecting import MeasuredRun

_FIX = "Give the JSON file that gradinc table has written for this table"

_RUNS = TypeAdapter(dict[str, MeasuredRun])


def read_earlier(path: Path, name: str) -> dict[str, MeasuredRun]:
    """Return the runs in a table's JSON file, by the digests of their settings.

    The file has no seal: its numbers are what its writer says.

    Args:
        name: the table that is asked for.

    Raises:
        UserError: the file is missing, is not of this table, or has other content.
    """
    where = f"--from {path}"
    document = read_json(path)
    if document is None:
        raise UserError(where, "cannot be read as JSON" if path.is_file() else "no such file", _FIX)
    if document.get("table") != name:
        raise UserError(where, f"is of table {shown(document.get('table'))}, not of {name}", _FIX)
    if "measured" not in document:
        raise UserError(where, "has no measured runs", "Write it again with this version of gradinc")
    try:
        return _RUNS.validate_json(json.dumps(document["measured"]), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(["measured", *map(str, first["loc"])])
        raise UserError(where, printable(f"{key}: {first['msg']}"), _FIX) from None
