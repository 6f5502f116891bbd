"""Files in a folder: one folder per class, optionally inside train, val and test."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gradinc.base.errors import UserError
from gradinc.base.files import is_utf8
from gradinc.data.source import TEST, TRAIN, VALIDATION


class FileKind(NamedTuple):
    """A kind of files, one for each row.

    Attributes:
        noun: what the files are, in the plural.
        formats: endings of their names, in small or capital letters.
        unread: endings of such files that cannot be read. Left out in silence, they would be missing rows.
    """

    noun: str
    formats: tuple[str, ...]
    unread: tuple[str, ...] = ()

    @property
    def layout(self) -> str:
        """Return the two layouts of a folder, as messages show them."""
        return f"DIR/<class>/*{self.formats[0]} or DIR/train/<class>/*{self.formats[0]}"

    def has(self, file: str) -> bool:
        """Return whether a file is of this kind, by its name."""
        return not file.startswith(".") and file.lower().endswith(self.formats)

    def check(self, path: Path) -> None:
        """Check that a file is not of this kind in a format that cannot be read.

        Raises:
            UserError: it is.
        """
        if not path.name.startswith(".") and path.name.lower().endswith(self.unread):
            formats = " ".join(ending[1:] for ending in self.formats)
            what = f"has a format that is not read: {self.noun} are {formats}"
            raise UserError(str(path), what, f"Convert it to {self.formats[0][1:]}, or remove it")


IMAGE_FILES = FileKind("images", (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"))
TEXT_FILES = FileKind("texts", (".txt",))
_OTHER_SOUND = (
    ".mp3",
    ".m4a",
    ".aac",
    ".opus",
    ".wma",
    ".aiff",
    ".aif",
    ".aifc",
    ".au",
    ".amr",
    ".ape",
    ".caf",
    ".w64",
)
SOUND_FILES = FileKind("recordings", (".wav", ".flac", ".ogg"), _OTHER_SOUND)

PART_FOLDERS = {"train": TRAIN, "val": VALIDATION, "validation": VALIDATION, "test": TEST}
"""Folders of official parts, and their parts."""


def scan(root: Path, kind: FileKind) -> tuple[tuple[str, ...], tuple[str, ...], np.ndarray, np.ndarray | None]:
    """Find all files of a kind under a folder.

    If ``DIR/train`` contains folders, ``DIR/train``, ``DIR/val`` (or ``validation``) and
    ``DIR/test`` are official parts; otherwise every folder in DIR is a class. Classes are numbered
    in the order of their names; files at any depth of a class's folder belong to it. Hidden files
    and files of other kinds, such as a README, are left out.

    Returns:
        Paths relative to the folder, the classes' names, labels (int64) and official parts (int8 or
        None), all in the order of the paths.

    Raises:
        UserError: the folder does not exist, or has another layout; or a file has a format that is not read.
    """
    if not root.is_dir():
        wrong = "is a file, not a folder" if root.exists() else "no such folder"
        raise UserError(f"data.root={root}", wrong, f"Give a folder laid out as {kind.layout}")
    official = root.joinpath("train").is_dir() and bool(_folders(root / "train"))
    parts = _parts(root) if official else {"": TRAIN}
    found = {part: _classes(root, part, kind) for part in parts}
    classes = tuple(sorted(found["train"] if official else found[""]))
    if len(classes) < 2:
        what = f"needs at least 2 folders of {kind.noun}, one for each class, and has {len(classes)}"
        raise UserError(f"data.root={root}", what, f"Lay it out as {kind.layout}")
    rows = []
    for part, folders in found.items():
        for name, paths in folders.items():
            if name not in classes:
                fix = f"Add training {kind.noun} to {root / 'train' / name}, or remove the class"
                raise UserError(str(root / part / name), f"this class has no training {kind.noun}", fix)
            rows += [(path, classes.index(name), parts[part]) for path in paths]
    rows.sort()
    found_paths, labels, membership = zip(*rows, strict=True)
    return found_paths, classes, np.array(labels, np.int64), np.array(membership, np.int8) if official else None


def _parts(root: Path) -> dict[str, int]:
    parts: dict[str, int] = {}
    for name in _folders(root):
        if name not in PART_FOLDERS:
            fix = "Remove it, or move it into one of these"
            raise UserError(str(root / name), "is beside train, and is neither val, validation nor test", fix)
        if PART_FOLDERS[name] in parts.values():
            raise UserError(str(root), "has both val and validation", "Keep one of them")
        parts[name] = PART_FOLDERS[name]
    return parts


def _classes(root: Path, part: str, kind: FileKind) -> dict[str, list[str]]:
    """Return the files of each class, as paths relative to `root`."""
    folders = {}
    for name in _folders(root / part):
        folders[name] = _files(root, root / part / name, kind)
        if not folders[name]:
            endings = " ".join(ending[1:] for ending in kind.formats)
            raise UserError(
                str(root / part / name), f"this class's folder holds no {kind.noun} ({endings})", "Fill or remove it"
            )
    return folders


def _folders(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise _unreadable(error) from None
    for name in names:
        if not is_utf8(name):
            raise UserError(str(folder / name), "the name of this class is not UTF-8", "Rename the folder")
    return names


def _files(root: Path, folder: Path, kind: FileKind) -> list[str]:
    def stop(error: OSError) -> None:
        raise _unreadable(error) from None

    paths = []
    for where, folders, files in os.walk(folder, onerror=stop):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for file in sorted(files):
            kind.check(Path(where, file))
        inside = Path(where).relative_to(root).as_posix()
        paths += [f"{inside}/{file}" for file in files if kind.has(file)]
    return paths


def _unreadable(error: OSError) -> UserError:
    return UserError(str(error.filename), f"cannot be read ({error.strerror})", "Check its permissions")
