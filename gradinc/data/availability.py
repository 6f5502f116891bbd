"""Data sets on this machine, and how to get the others. Imports no torch until it reads a set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gradinc.data import locations

MADE = {
    "bit_flipping": (None, "10,000 + 1,000"),
    "mnist1d": ("mnist1d", "4,000 + 1,000"),
    "modular": (None, "9,312"),
}
"""Generated sets: their package, if it is not gradinc, and the rows of the default."""

YOURS = {
    "image_folder": "DIR, one folder for each class",
    "audio_folder": "DIR, one folder for each class",
    "npz": "FILE.npz",
    "text_folder": "DIR, one folder for each class",
    "text": "DIR with .txt files",
    "table": "FILE.csv, .tsv, .jsonl or .parquet",
    "huggingface": "DIR of save_to_disk",
}
"""Sets of the user's own, and where their files are."""

FSDD = "DIR with the Free Spoken Digit Dataset (doi:10.5281/zenodo.1342401)"


@dataclass(frozen=True)
class Availability:
    """The availability of a data set on this machine, without a download.

    Attributes:
        name: the set's name.
        here: whether the set can be read.
        where: its folder or file; empty if it is not here.
        rows: number of rows, training + test for official parts; None if not
            known before it is read.
        how: how to get it, or its source.
    """

    name: str
    here: bool
    where: str
    rows: str | None
    how: str


@dataclass(frozen=True)
class CheckedData:
    """A data set that was completely read and checked.

    Attributes:
        name: the set's name.
        where: its folder or file.
        rows: rows in all.
        official: rows of each official part; empty without official parts.
        shape: shape of one row; of the longest row of text.
        classes: the classes' names; None for values.
        text: whether rows are text.
        next_token: whether the targets are the next tokens of a text.
    """

    name: str
    where: str
    rows: int
    official: Mapping[str, int]
    shape: tuple[int, ...]
    classes: tuple[str, ...] | None
    text: bool = False
    next_token: bool = False


def availability(name: str, root: str | None = None) -> Availability:
    """Look for a data set, without reading it.

    Args:
        name: the set's name; nothing is known of sets that other packages register.
        root: ``data.root``.
    """
    if name in YOURS:
        here = root is not None and _there(name, Path(root).expanduser())
        return Availability(name, here, str(root) if here else "", None, f"your own: data.root={YOURS[name]}")
    if name == "fsdd":
        here = root is not None and any(Path(root).expanduser().glob("**/0_*_0.wav"))
        return Availability(name, here, str(root) if here else "", "2,700 + 300", f"data.root={FSDD}")
    if name == "arrays":
        return Availability(name, False, "", None, "your own: gradinc.train(data=(x, y)) in Python")
    if name == "clinc150":
        here = root is not None and (Path(root).expanduser() / "data_full.json").is_file()
        how = "data.root=DIR with data_full.json and domains.json (github.com/clinc/oos-eval)"
        return Availability(name, here, str(root) if here else "", "18,000 + 4,500", how)
    if name in MADE:
        package, rows = MADE[name]
        here = package is None or find_spec(package) is not None
        return Availability(name, here, "made by a program" if here else "", rows, f"pip install {package}")
    if name in locations.INSTALLED:
        return _found(name, root, locations.INSTALLED[name][1], "comes with scikit-learn")
    if name in locations.DOWNLOADABLE:
        known = locations.DOWNLOADABLE[name]
        how = f"download with gradinc data {name}, or give data.root=DIR"
        if known.package:
            how = f"install Debian's package {known.package}, {how}"
        return _found(name, root, known.rows, how)
    return Availability(name, False, "", None, "from another package")


def prepare_data(name: str, root: str | None = None, options: Mapping[str, Any] | None = None) -> CheckedData:
    """Download a data set if necessary, read all of it and check every file.

    Args:
        name: the set's name.
        root: ``data.root``.
        options: the set's own options; missing options have their defaults.

    Raises:
        UserError: the set cannot be downloaded, or a file is damaged.
    """
    from gradinc.data.check import read_whole  # reads with numpy and PIL, and may need torchvision

    return read_whole(name, root, dict(options or {}))


def _found(name: str, root: str | None, rows: str, how: str) -> Availability:
    folder = locations.find(name, root)
    return Availability(name, folder is not None, "" if folder is None else str(folder), rows, how)


def _there(name: str, path: Path) -> bool:
    if name in ("table", "text"):
        return path.exists()
    return path.is_file() if name == "npz" else path.is_dir()
