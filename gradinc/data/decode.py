"""Images in a folder, and their decoding with PIL."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import PIL
from PIL import Image

from gradinc.base.cores import usable_cores
from gradinc.base.errors import UserError
from gradinc.base.files import open_plain
from gradinc.data.reading import GROUP
from gradinc.data.source import RowFiles
from gradinc.data.statistics import PixelCounts

GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N"})
"""PIL's modes of images without colour."""

MOST_THREADS = 16

ONE_THREAD = 48 * 48
"""Pixels of an image below which one thread decodes faster than two: it is faster at 32x32, and slower at 64x64."""


@dataclass(frozen=True)
class ImageFiles(RowFiles):
    """Images in a folder, not yet decoded.

    If images are resized, the shorter side is scaled to the requested size (bilinear, with antialiasing) and the middle
    is cut out. Transparency is dropped, only the first frame of an animation is used, and 16-bit grey is converted to 8
    bits.

    Attributes:
        height, width: size of every image, in pixels.
        channels: 1 (grey) or 3 (red, green, blue).
        resize: whether images are scaled and cropped to this size; otherwise all have it already.
    """

    height: int
    width: int
    channels: int
    resize: bool
    dtype = np.uint8
    cache = "image_folder"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one decoded image: channels, height, width."""
        return (self.channels, self.height, self.width)

    @property
    def threads(self) -> int:
        """Return the number of decoding threads: one for small images, else the cores that this process may use.

        Small images are decoded in less time than Python needs to pass its lock from thread to thread.
        """
        small = not self.resize and self.height * self.width < ONE_THREAD
        return 1 if small else min(usable_cores(), MOST_THREADS)

    @property
    def key(self) -> str:
        return f"{self.shape}\0{self.resize}"

    @property
    def recipe(self) -> bytes:
        return Path(__file__).read_bytes() + PIL.__version__.encode()

    def decode(self, index: int, content: bytes) -> np.ndarray:
        with Image.open(io.BytesIO(content)) as image:
            self._check_size(self.paths[index], image.height, image.width)
            pixels = _pixels(image, self)
        return pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels[None]

    def failure(self, error: Exception) -> str:
        return _failure(error)

    def check(self) -> None:
        found = headers(self.root / path for path in self.paths)
        for path, (height, width, _) in zip(self.paths, found, strict=True):
            self._check_size(path, height, width)

    def statistics(self) -> PixelCounts:
        return PixelCounts(self.channels)

    @contextmanager
    def first_reading(self) -> Iterator[None]:
        with _large_refused():
            yield

    def _check_size(self, path: str, height: int, width: int) -> None:
        """Raise a UserError if an image of another size than the first one cannot be used as it is."""
        if not self.resize and (height, width) != (self.height, self.width):
            raise UserError(
                os.path.join(self.root, path),
                f"is {width}x{height} pixels, while {self.paths[0]} is {self.width}x{self.height}",
                "Give data.size=N to scale all images to NxN",
            )


def headers(paths: Iterable[Path]) -> Iterator[tuple[int, int, bool]]:
    """Yield height and width of each image in pixels, and whether it is grey. Reads no pixels.

    Raises:
        UserError: a file is not an image that PIL can open, or has more pixels than Pillow's safe limit.
    """
    paths = iter(paths)
    with ThreadPoolExecutor(min(usable_cores(), MOST_THREADS)) as pool:
        while some := list(islice(paths, GROUP)):
            with _large_refused():
                found = list(pool.map(_header, some))
            yield from found


def _header(path: Path) -> tuple[int, int, bool]:
    try:
        with open_plain(path) as file, Image.open(file) as image:
            return image.height, image.width, image.mode in GREY_MODES
    except (UserError, MemoryError):
        raise
    except Exception as error:
        raise UserError(str(path), _failure(error), "Replace the file or remove it") from None


def _failure(error: Exception) -> str:
    reason = getattr(error, "strerror", None) or (str(error) if str(error) else type(error).__name__)
    if isinstance(error, Image.UnidentifiedImageError):
        reason = "not an image format that gradinc reads"
    elif isinstance(error, Image.DecompressionBombError | Image.DecompressionBombWarning):
        reason = f"more than {Image.MAX_IMAGE_PIXELS:,} pixels, the most that are safe to decode"
    return f"not a readable image ({reason})"


@contextmanager
def _large_refused() -> Iterator[None]:
    """Turn Pillow's warning about images with more pixels than its safe limit into an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def _pixels(image: Image.Image, files: ImageFiles) -> np.ndarray:
    """Return the pixels of an image, uint8, shape (H, W) or (H, W, 3)."""
    if image.mode in ("I", "F"):
        raise ValueError("its pixels have 32 bits; gradinc reads 8 and 16")
    plain: Image.Image
    if image.mode.startswith("I;16"):
        plain = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    elif image.mode == "P" and "transparency" in image.info:
        plain = image.convert("RGBA")
    else:
        plain = image
    plain.load()
    mode = "L" if files.channels == 1 else "RGB"
    if plain.mode != mode:
        plain = plain.convert(mode)
    if files.resize:
        plain = _scaled(plain, files.height, files.width)
    return np.asarray(plain)


def _scaled(image: Image.Image, height: int, width: int) -> Image.Image:
    """Scale so that the image just covers height x width, and cut out the middle."""
    ratio = max(height / image.height, width / image.width)
    size = (max(width, round(image.width * ratio)), max(height, round(image.height * ratio)))
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return image.crop((left, top, left + width, top + height))
