"""CIFAR-10 and CIFAR-100, read by torchvision after a check of every file's md5 sum.

The files are pickles, so the check comes first: only the exact files that their authors published
are opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gradinc.base.errors import UserError
from gradinc.data import locations
from gradinc.data.source import TEST, TRAIN, Source
from gradinc.data.torchvision_import import import_torchvision


def cifar(name: str, root: str | None) -> Source:
    """Read ``cifar10`` or ``cifar100``.

    Raises:
        UserError: the set cannot be downloaded, or one of its files is missing or not the published one.
    """
    folder = locations.find(name, root)
    if folder is None:
        from gradinc.data.downloads import download

        folder = download(name, root)
    kind = getattr(import_torchvision("datasets"), locations.DOWNLOADABLE[name].label)
    _check(kind, folder)
    train, test = kind(root=str(folder), train=True), kind(root=str(folder), train=False)
    x = np.concatenate([train.data, test.data]).transpose(0, 3, 1, 2)
    y = np.array(train.targets + test.targets, np.int64)
    part = np.repeat(np.array([TRAIN, TEST], np.int8), [len(train.data), len(test.data)])
    origin = str(folder / kind.base_folder)
    return Source(np.ascontiguousarray(x), y, tuple(train.classes), part, 255.0, origin)


def _check(kind: Any, folder: Path) -> None:
    check_integrity = import_torchvision("datasets.utils").check_integrity
    sums = [*kind.train_list, *kind.test_list, (kind.meta["filename"], kind.meta["md5"])]
    for file, md5 in sums:
        path = folder / kind.base_folder / file
        if not check_integrity(str(path), md5):
            wrong = "not the published file (md5)" if path.is_file() else "no such file"
            fix = f"Delete {path.parent}, so that the set is downloaded again, or give another data.root=DIR"
            raise UserError(str(path), wrong, fix)
