"""How large a YAML file becomes when it is read, known before it is: a few lines can stand for a billion values."""

from __future__ import annotations

from pathlib import Path

import yaml

from gradinc.base.errors import UserError
from gradinc.base.files import NotPlain, open_plain

LARGEST_FILE = 1 << 20
"""Bytes of a file; gradinc's own have some hundred."""

_MOST_VALUES = 100_000
"""Values that a file may stand for, once each ``*alias`` has become what it names."""

_DEEPEST = 100
"""Levels of sections and lists in each other. At some ten thousand the loader in C ends the process."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same documents, ten times as fast, where PyYAML was built with libyaml."""


def check_yaml_size(path: Path) -> None:
    """See that a file can be read: how it nests is followed without building any of it.

    Files that cannot be opened or are no YAML are left to whoever reads them.

    Raises:
        UserError: it stands for too much, is nested too deeply, is too large, or is a pipe, a device or a directory.
    """
    try:
        with open_plain(path) as file:
            text = file.read(LARGEST_FILE + 1)
        if len(text) > LARGEST_FILE:
            raise UserError(str(path), f"is larger than {LARGEST_FILE:,} bytes", "Give a file of settings")
        _follow(path, text.decode())
    except NotPlain as error:
        raise UserError(str(path), f"cannot be read ({error.strerror})", "Give a file of settings") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return


def _follow(path: Path, text: str) -> None:
    named: dict[str, int] = {}
    opened: list[tuple[str | None, int]] = []  # of each section that is open: its anchor, and the values before it
    values = 0
    for event in yaml.parse(text, LOADER):  # event by event neither loader goes deeper for a file that does
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append((event.anchor, values))
            if len(opened) > _DEEPEST:
                raise UserError(str(path), f"nests deeper than {_DEEPEST} levels", "Give a file of settings")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            values += 1
            if anchor is not None:
                named[anchor] = values - before
        elif isinstance(event, yaml.ScalarEvent):
            values += 1
            if event.anchor is not None:
                named[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in (anchor for anchor, _ in opened):
                raise UserError(str(path), f"*{event.anchor} stands inside of what it names", "Write it out")
            values += named.get(str(event.anchor), 1)
        if values > _MOST_VALUES:
            raise UserError(str(path), f"stands for more than {_MOST_VALUES:,} values", "Give a file of settings")
