"""Text from files: UTF-8, with messages that name file, line and column."""

from __future__ import annotations

from pathlib import Path

from gradinc.base.errors import UserError


def read_text(path: Path, what: str = "text") -> str:
    """Return a file's text, with ``\\n`` for every end of a line and without a byte order mark.

    Args:
        what: contents of the file, for messages.

    Raises:
        UserError: the file cannot be read, is not UTF-8, has a NUL character, or has no characters.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(str(path), f"cannot be read ({error.strerror})", "Check the path and its permissions") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise not_utf8(path, content, error.start) from None
    if (place := content.find(0)) >= 0:  # no text has one, but UTF-16 without a byte order mark can be valid UTF-8
        what = "is a NUL character, as in UTF-16 or in a file that is no text"
        fix = f"Convert it: iconv -f utf-16le -t utf-8 {path.name}, or remove it"
        raise UserError(_where(path, content, place), what, fix)
    if not text.strip():
        raise UserError(str(path), f"is empty: it has no {what}", "Remove the file or fill it")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def not_utf8(path: Path, content: bytes, place: int) -> UserError:
    """Return the error for a byte that is not UTF-8, at its line and column, both from 1."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return UserError(str(path), "is UTF-16, not UTF-8", f"Convert it: iconv -f utf-16 -t utf-8 {path.name}")
    what = f"byte 0x{content[place]:02x} is not UTF-8"
    return UserError(_where(path, content, place), what, f"Convert it: iconv -f latin1 -t utf-8 {path.name}")


def _where(path: Path, content: bytes, place: int) -> str:
    """Return the file, and the line and column of a byte, both from 1."""
    line = content.count(b"\n", 0, place) + 1
    column = len(content[content.rfind(b"\n", 0, place) + 1 : place].decode("utf-8", "replace")) + 1
    return f"{path}, line {line}, column {column}"
