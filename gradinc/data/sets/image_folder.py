"""Images in a folder of the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from gradinc.base.errors import UserError
from gradinc.config.values import Count
from gradinc.data.decode import ImageFiles, headers
from gradinc.data.folder import IMAGE_FILES, scan
from gradinc.data.source import Source


def image_folder(root: str | None, *, size: Count | None = None, channels: Literal["auto", 1, 3] = "auto") -> Source:
    """Your own images: data.root=DIR with one folder for each class

    DIR/<class>/*.png is split by data.validation and data.test; DIR/train/<class>/*.png, DIR/val and
    DIR/test are used as they are. Formats: png jpg jpeg bmp gif webp tif tiff ppm pgm.
    With data.memory=stream, digests and pixel counts are stored under $XDG_CACHE_HOME or ~/.cache,
    and files that have not changed are not read at the next start.

    Args:
        size: scale each image to size x size pixels and cut out the middle; null does not scale images.
        channels: 1 reads all as grey, 3 as colour, auto as grey if all of them are grey.
    """
    if root is None:
        raise UserError(
            "data.root", "image_folder needs a folder", f"Give data.root=DIR, laid out as {IMAGE_FILES.layout}"
        )
    folder = Path(root).expanduser()
    paths, classes, y, part = scan(folder, IMAGE_FILES)
    first, *others = (folder / path for path in paths)
    height, width, grey = next(headers([first]))
    if channels == "auto":
        channels = 1 if grey and all(grey for _, _, grey in headers(others)) else 3
    if size is not None:
        height = width = size
    files = ImageFiles(folder, paths, height, width, channels, resize=size is not None)
    return Source(files, y, classes, part, 255.0, str(folder))
