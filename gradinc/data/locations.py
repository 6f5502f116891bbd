"""Locations of data sets on this machine. Imports neither torch nor numpy, so that listings are fast."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

IMAGES, LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
IDX_FILES = (f"train-{IMAGES}", f"train-{LABELS}", f"t10k-{IMAGES}", f"t10k-{LABELS}")
"""The four files of MNIST and its relatives, without ``.gz``."""


@dataclass(frozen=True)
class Downloadable:
    """A set that torchvision can download.

    Attributes:
        label: torchvision's name for its class.
        rows: number of rows, as text.
        system: the folder of a system package, or None.
        package: the name of Debian's package, or None.
        folder: for CIFAR, the folder of its files, as torchvision unpacks it.
    """

    label: str
    rows: str
    system: Path | None = None
    package: str | None = None
    folder: str | None = None


DOWNLOADABLE = {
    "mnist": Downloadable("MNIST", "60,000 + 10,000"),
    "fashion_mnist": Downloadable(
        "FashionMNIST", "60,000 + 10,000", Path("/usr/share/datasets/fashion-mnist"), "dataset-fashion-mnist"
    ),
    "cifar10": Downloadable("CIFAR10", "50,000 + 10,000", folder="cifar-10-batches-py"),
    "cifar100": Downloadable("CIFAR100", "50,000 + 10,000", folder="cifar-100-python"),
}
"""The sets that torchvision can download, by name."""

INSTALLED = {
    "digits": (("digits.csv.gz",), "1,797"),
    "diabetes": (("diabetes_data_raw.csv.gz", "diabetes_target.csv.gz"), "442"),
}
"""Sets that are part of scikit-learn: their files and the number of their rows."""


def cache_folder(name: str) -> Path:
    """Return the folder of a downloaded set: under ``$XDG_CACHE_HOME``, or ``~/.cache``."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "gradinc" / name


def idx_folders(name: str, root: str | None) -> list[Path]:
    """Return the possible folders of a relative of MNIST, best first."""
    known = DOWNLOADABLE[name]
    folders: list[Path] = []
    if root is not None:
        folders += _layouts(Path(root).expanduser(), known.label)
    if known.system is not None:
        folders.append(known.system)
    return folders + _layouts(cache_folder(name), known.label)


def idx_files(folder: Path) -> dict[str, Path]:
    """Return which of the four files of MNIST's relatives are in a folder, compressed or not."""
    found: dict[str, Path] = {}
    for name in IDX_FILES:
        for path in (folder / name, folder / f"{name}.gz"):
            if path.is_file():
                found[name] = path
                break
    return found


def cifar_folders(name: str, root: str | None) -> list[Path]:
    """Return the possible parents of CIFAR's own folder, best first."""
    folders = [] if root is None else [Path(root).expanduser()]
    if folders and folders[0].name == DOWNLOADABLE[name].folder:
        folders.insert(0, folders[0].parent)  # the user named the folder itself
    return [*folders, cache_folder(name)]


def installed_folders(root: str | None) -> list[Path]:
    """Return the possible folders of scikit-learn's files, without importing it."""
    folders = [] if root is None else [Path(root).expanduser()]
    package = importlib.util.find_spec("sklearn")
    if package is not None and package.submodule_search_locations:
        folders.append(Path(package.submodule_search_locations[0]) / "datasets" / "data")
    return folders


def find(name: str, root: str | None) -> Path | None:
    """Return the folder of a set with a name of its own, or None if it is not here."""
    if name in INSTALLED:
        files = INSTALLED[name][0]
        return _first(installed_folders(root), lambda folder: all((folder / file).is_file() for file in files))
    own = DOWNLOADABLE[name].folder
    if own is not None:
        return _first(cifar_folders(name, root), lambda folder: (folder / own).is_dir())
    return _first(idx_folders(name, root), lambda folder: bool(idx_files(folder)))


def tried(name: str, root: str | None) -> list[Path]:
    """Return every folder that `find` searches."""
    if name in INSTALLED:
        return installed_folders(root)
    return cifar_folders(name, root) if DOWNLOADABLE[name].folder else idx_folders(name, root)


def _layouts(folder: Path, label: str) -> list[Path]:
    """Return a folder itself, and torchvision's folders under it."""
    return [folder, folder / label / "raw"]


def _first(folders: list[Path], here: Callable[[Path], bool]) -> Path | None:
    return next((folder for folder in folders if here(folder)), None)
