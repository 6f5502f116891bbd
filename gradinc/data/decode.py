"""Decoding of image files with PIL, in threads, with reports of broken files."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from gradinc.base.cores import usable_cores
from gradinc.base.errors import UserError
from gradinc.base.files import open_plain
from gradinc.data.source import ImageFiles

GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N"})
"""PIL's modes of images without colour."""

AHEAD = 512
"""Number of images that are decoded ahead."""

Item = TypeVar("Item")
Result = TypeVar("Result")


def headers(paths: Iterable[Path]) -> list[tuple[int, int, bool]]:
    """Return height and width of each image in pixels, and whether it is grey. Reads no pixels.

    Raises:
        UserError: a file is not an image that PIL can open, or has more pixels than Pillow's safe limit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        return list(threaded(_header, paths))


def _header(path: Path) -> tuple[int, int, bool]:
    with _reported(path), open_plain(path) as file, Image.open(file) as image:
        return image.height, image.width, image.mode in GREY_MODES


def decode(files: ImageFiles, index: int) -> np.ndarray:
    """Return one image, uint8, shape (C, H, W). See `read_image`."""
    return read_image(files, index)[0]


def read_image(files: ImageFiles, index: int) -> tuple[np.ndarray, bytes]:
    """Return one image, uint8, shape (C, H, W), and the sha256 of its file.

    With `ImageFiles.resize` the shorter side is scaled to the requested size (bilinear, with
    antialiasing) and the middle is cut out. Transparency is dropped, only the first frame of an
    animation is used, and 16-bit grey is converted to 8 bits.

    Raises:
        UserError: the file is broken, has another size than all others, or was changed since the data set was read.
    """
    path = files.root / files.paths[index]
    with _reported(path):
        with open_plain(path) as file:
            content = file.read()
        digest = hashlib.sha256(content).digest()
        if files.digest(index) not in (None, digest):
            fix = "Restore it and give the same command again, or add fresh=true to train on the new data"
            raise UserError(str(path), "was changed while the run read it", fix)
        with Image.open(io.BytesIO(content)) as image:
            pixels = _pixels(image, files)
    if pixels.shape != files.shape:
        found, wanted = (f"{shape[2]}x{shape[1]}" for shape in (pixels.shape, files.shape))
        raise UserError(
            str(path), f"is {found} pixels, the others are {wanted}", "Give data.size=N to scale all images"
        )
    return pixels, digest


def threaded(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Map a function in threads, in order, with at most `AHEAD` results in memory."""
    items = iter(items)
    with ThreadPoolExecutor(threads()) as pool:
        while chunk := list(islice(items, AHEAD)):
            yield from pool.map(function, chunk)


def threads() -> int:
    """Return the number of decoding threads: the cores that this process may use, at most 16."""
    return min(usable_cores(), 16)


def _pixels(image: Image.Image, files: ImageFiles) -> np.ndarray:
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; gradinc reads 8 and 16")
    plain: Image.Image
    if image.mode.startswith("I;16"):
        plain = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        plain = image.convert("RGBA")
    else:
        plain = image
    plain = plain.convert("L" if files.channels == 1 else "RGB")
    if files.resize:
        plain = _scaled(plain, files.height, files.width)
    pixels = np.asarray(plain)
    return np.ascontiguousarray(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def _scaled(image: Image.Image, height: int, width: int) -> Image.Image:
    """Scale so that the image just covers height x width, and cut out the middle."""
    ratio = max(height / image.height, width / image.width)
    size = (max(width, round(image.width * ratio)), max(height, round(image.height * ratio)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return image.crop((left, top, left + width, top + height))


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn PIL's errors for a broken file into a UserError that names the file."""
    try:
        yield
    except (UserError, MemoryError):
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or (str(error) if str(error) else type(error).__name__)
        if isinstance(error, Image.UnidentifiedImageError):
            reason = "not an image format that gradinc reads"
        elif isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
            reason = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels, the most that are safe to decode"
        raise UserError(str(path), f"not a readable image ({reason})", "Replace the file or remove it") from None
