"""Tables of the installed scikit-learn, read without importing it (an import takes 2 seconds)."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from gradinc.base.errors import UserError
from gradinc.data import locations

_MEND = "Reinstall scikit-learn"


def installed_folder(name: str, root: str | None) -> Path:
    """Return the folder of the files of ``digits`` or ``diabetes``.

    Raises:
        UserError: they are neither under `root` nor installed.
    """
    folder = locations.find(name, root)
    if folder is None:
        tried = ", ".join(str(folder) for folder in locations.tried(name, root)) or "no scikit-learn is installed"
        raise UserError(f"data={name}", f"its files are not here ({tried})", "Install scikit-learn 1.5 or later")
    return folder


def read_numbers(path: Path, columns: int, delimiter: str | None) -> np.ndarray:
    """Return numbers from a compressed text file, float64, shape (rows, columns).

    Raises:
        UserError: the file is damaged, or is another table.
    """
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            lines = file.read().splitlines()
        table = np.loadtxt(lines, delimiter=delimiter, ndmin=2) if lines else np.empty((0, columns))
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise UserError(str(path), f"cannot be read ({error})", _MEND) from None
    if table.size == 0 or table.shape[1] != columns or not np.isfinite(table).all():
        raise UserError(str(path), f"not a table of {columns} columns of finite numbers", _MEND)
    return table
