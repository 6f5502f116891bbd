"""Files that are complete or absent, even if the program is killed while it writes them."""

from __future__ import annotations

import errno
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from gradinc.base.crash import crash_point
from gradinc.base.errors import StorageError, Unwritable, UserError

_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)
"""Errors of the operating system that concern the place and not the content to write."""


class NotPlain(OSError):
    """A path is not a regular file: reading a pipe would block, and reading a device might never end."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a restart, sees all of the new content or none of it.

    Raises:
        StorageError: the disk is full, read-only or over quota; the old file stays.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    with storing(path, len(content)):
        try:
            crash_point("before-write")
            with open(temporary, "wb") as file:
                half = len(content) // 2
                file.write(content[:half])
                crash_point("mid-write")
                file.write(content[half:])
                file.flush()
                crash_point("before-fsync")
                os.fsync(file.fileno())
            crash_point("before-replace")
            os.replace(temporary, path)
            crash_point("after-replace")
            sync_directory(path.parent)
        except OSError:
            with suppress(OSError):  # on a disk that became read-only this fails, too
                temporary.unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> None:
    """Write a complete JSON document. Bytes of paths that are not UTF-8 become JSON escapes."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    write_whole(path, text.encode(errors="backslashreplace"))


def is_utf8(name: str) -> bool:
    """Return whether a name from the file system or the command line is text, not bytes that Python has escaped."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def open_plain(path: Path | str) -> BinaryIO:
    """Open a regular file to read its bytes. Neither opening nor reading can block.

    Raises:
        NotPlain: it is a directory, a pipe or a device.
        OSError: it is missing or cannot be opened.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise NotPlain(errno.EINVAL, "it is not a plain file", str(path))
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def check_plain(path: Path, what: str, fix: str) -> None:
    """Check that a path to write to is free or a plain file: a link or a device would write elsewhere.

    Args:
        path: the place.
        what: the writer, as in ``where a run writes``.
        fix: another remedy.

    Raises:
        UserError: the path is something else.
    """
    try:
        kind = path.lstat().st_mode
    except FileNotFoundError:
        return
    if stat.S_ISLNK(kind):
        raise UserError(str(path), f"is a link, {what}", f"Replace it by the file itself, {fix}")
    if not stat.S_ISREG(kind):
        raise UserError(str(path), f"is not a plain file, {what}", f"Remove it, {fix}")


def sync_directory(path: Path) -> None:
    """Make new names in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storing(path: Path, needed: int = 0) -> Iterator[None]:
    """Convert operating system errors raised inside into one error: `path`, with `needed` bytes, cannot be written.

    Raises:
        StorageError: the operating system refused an operation.
    """
    try:
        yield
    except OSError as error:
        raise storage_error(path, error, needed) from error


def storage_error(path: Path, error: OSError, needed: int = 0) -> StorageError:
    """Return the error whose line says why a file could not be written."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    fix = "Make it writable, or choose another place"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        reason = f"{reason} ({needed:,} bytes are needed{_free(path.parent)})"
        fix = "Free some space or choose another output=…; the same command then resumes"
    kind = Unwritable if error.errno in _UNWRITABLE else StorageError
    return kind(str(path), f"cannot be written: {reason}", fix)


def _free(folder: Path) -> str:
    """Return the free space of a file system in words: bytes, or the limit of files if it is reached."""
    try:
        left = os.statvfs(folder)
    except OSError:
        return ""
    if left.f_files and not left.f_favail:
        return f", and no inode is free: the limit of {left.f_files:,} files is reached"
    return f", {left.f_bavail * left.f_frsize:,} bytes are free"
