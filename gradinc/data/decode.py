"""Decoding of image files with PIL, in threads, with reports of broken files."""

from __future__ import annotations

import hashlib
import io
import math
import os
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image

from gradinc.base.cores import usable_cores
from gradinc.base.errors import UserError
from gradinc.base.files import open_plain
from gradinc.data.source import ImageFiles

GREY_MODES = frozenset({"1", "L", "LA", "I;16", "I;16L", "I;16B", "I;16N"})
"""PIL's modes of images without colour."""

GROUP, GROUP_BYTES = 256, 2**25
"""Largest number of images that are read together when a whole data set is read, and of their bytes."""

MOST_THREADS = 16

ONE_THREAD = 48 * 48
"""Pixels of an image below which one thread decodes faster than two: it is faster at 32x32, and slower at 64x64."""

Images = tuple[np.ndarray, list[bytes]]
"""Images, uint8, shape (n, C, H, W), and the sha256 of each file."""


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
    with _reported(str(path)), open_plain(path) as file, Image.open(file) as image:
        return image.height, image.width, image.mode in GREY_MODES


@contextmanager
def _large_refused() -> Iterator[None]:
    """Turn Pillow's warning about images with more pixels than its safe limit into an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def check_headers(files: ImageFiles) -> None:
    """Check that every file is an image of the right size. Reads no pixels.

    Raises:
        UserError: see `headers` and `check_size`.
    """
    found = headers(files.root / path for path in files.paths)
    for path, (height, width, _) in zip(files.paths, found, strict=True):
        check_size(files, path, height, width)


def check_size(files: ImageFiles, path: str, height: int, width: int) -> None:
    """Raise a UserError if an image of another size than the first one cannot be used as it is."""
    if not files.resize and (height, width) != (files.height, files.width):
        raise UserError(
            os.path.join(files.root, path),
            f"is {width}x{height} pixels, while {files.paths[0]} is {files.width}x{files.height}",
            "Give data.size=N to scale all images to NxN",
        )


def read_all(files: ImageFiles) -> Iterator[Images]:
    """Yield all images in groups, in the order of their paths. See `read_rows`."""
    everything = range(len(files))
    size = max(threads(files), min(GROUP, GROUP_BYTES // math.prod(files.shape)))
    with _large_refused():
        yield from read_groups(files, (everything[first : first + size] for first in everything[::size]))


def read_groups(files: ImageFiles, groups: Iterable[Sequence[int]]) -> Iterator[Images]:
    """Yield the images of each group of row numbers, one group ahead, in threads. See `read_rows`."""
    count = threads(files)
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[list[Future[Images]]] = deque()
        for rows in groups:
            size = -(-len(rows) // count)
            pieces = [rows[first : first + size] for first in range(0, len(rows), size)]
            waiting.append([pool.submit(read_rows, files, piece) for piece in pieces])
            if len(waiting) > 1:
                yield _joined(waiting.popleft())
        for futures in waiting:
            yield _joined(futures)


def _joined(pieces: list[Future[Images]]) -> Images:
    images, digests = zip(*(piece.result() for piece in pieces), strict=True)
    return np.concatenate(images), [digest for some in digests for digest in some]


def read_rows(files: ImageFiles, rows: Sequence[int]) -> Images:
    """Read each file once: its bytes are hashed and decoded.

    With `ImageFiles.resize` the shorter side is scaled to the requested size (bilinear, with
    antialiasing) and the middle is cut out. Transparency is dropped, only the first frame of an
    animation is used, and 16-bit grey is converted to 8 bits.

    Raises:
        UserError: a file is broken, has another size than all others, or was changed since the data set was read.
    """
    images = np.empty((len(rows), *files.shape), np.uint8)
    digests = []
    for place, row in enumerate(rows):
        path = os.path.join(files.root, files.paths[row])
        with _reported(path):
            with open_plain(path) as file:
                content = file.read()
            digest = hashlib.sha256(content).digest()
            if files.digest(row) not in (None, digest):
                fix = "Restore it and give the same command again, or add fresh=true to train on the new data"
                raise UserError(path, "was changed while the run read it", fix)
            with Image.open(io.BytesIO(content)) as image:
                check_size(files, files.paths[row], image.height, image.width)
                pixels = _pixels(image, files)
            images[place] = pixels.transpose(2, 0, 1) if pixels.ndim == 3 else pixels
        digests.append(digest)
    return images, digests


def threads(files: ImageFiles) -> int:
    """Return the number of decoding threads: one for small images, else the cores that this process may use.

    Small images are decoded in less time than Python needs to pass its lock from thread to thread.
    """
    small = not files.resize and files.height * files.width < ONE_THREAD
    return 1 if small else min(usable_cores(), MOST_THREADS)


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


@contextmanager
def _reported(path: str) -> Iterator[None]:
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
        raise UserError(path, f"not a readable image ({reason})", "Replace the file or remove it") from None
