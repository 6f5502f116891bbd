"""MNIST and its relatives: four IDX files, found on this machine or downloaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gradinc.base.errors import UserError
from gradinc.data import locations
from gradinc.data.idx import read_images, read_labels
from gradinc.data.source import TEST, TRAIN, Source


def mnist_family(name: str, root: str | None, classes: tuple[str, ...]) -> Source:
    """Read a relative of MNIST.

    Args:
        name: a key of `locations.DOWNLOADABLE`.
        root: ``data.root``, searched before the system's folder and the cache.
        classes: the names of the classes, by label.

    Raises:
        UserError: the set cannot be downloaded, or one of its files is missing or damaged.
    """
    folder = locations.find(name, root)
    if folder is None:
        from gradinc.data.downloads import download  # needs torchvision, which takes a second to import

        folder = download(name, root)
    files = locations.idx_files(folder)
    fix = _fix(name, folder)
    for file in locations.IDX_FILES:
        if file not in files:
            raise UserError(
                str(folder / file), "no such file, with or without .gz, but other files of the set are here", fix
            )
    x, y = zip(*(_part(files, prefix, len(classes), fix) for prefix in ("train", "t10k")), strict=True)
    if x[0].shape[1:] != x[1].shape[1:]:
        raise UserError(str(folder), f"training images are {x[0].shape[1:]}, test images {x[1].shape[1:]}", fix)
    part = np.repeat(np.array([TRAIN, TEST], np.int8), [len(x[0]), len(x[1])])
    return Source(np.concatenate(x), np.concatenate(y), classes, part, 255.0, str(folder))


def _part(files: dict[str, Path], prefix: str, classes: int, fix: str) -> tuple[np.ndarray, np.ndarray]:
    images = files[f"{prefix}-{locations.IMAGES}"]
    labels = files[f"{prefix}-{locations.LABELS}"]
    x, y = read_images(images, fix), read_labels(labels, classes, fix)
    if len(x) != len(y):
        raise UserError(str(labels), f"{len(y)} labels for the {len(x)} images in {images.name}", fix)
    return x, y


def _fix(name: str, folder: Path) -> str:
    known = locations.DOWNLOADABLE[name]
    if folder == known.system:
        return f"Reinstall Debian's package {known.package}"
    return f"Delete {folder}, so that the set is downloaded again, or give another data.root=DIR"
