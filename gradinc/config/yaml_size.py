"""The size of a YAML file once read, computed beforehand: a few lines can expand to a billion values."""

from __future__ import annotations

from pathlib import Path

import yaml

from gradinc.base.errors import UserError
from gradinc.base.files import NotPlain, open_plain

LARGEST_FILE = 1 << 20
"""Largest file in bytes; gradinc's own have some hundred."""

_MOST_VALUES = 100_000
"""Largest number of values of a file, with each ``*alias`` expanded."""

_DEEPEST = 100
"""Largest depth of nested sections and lists. At some ten thousand levels the loader in C ends the process."""

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The loader in C, ten times as fast, if PyYAML was built with libyaml."""


def check_yaml_size(path: Path) -> None:
    """Check the size and depth of a file, without building its values.

    Files that cannot be opened or are not YAML are left to their reader.

    Raises:
        UserError: it has too many values, is nested too deeply, is too large, or is a pipe, a device or a directory.
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
    opened: list[tuple[str | None, int]] = []  # for each open section, its anchor and the number of values before it
    values = 0
    for event in yaml.parse(text, LOADER):  # events are flat: deep nesting costs no recursion
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
                raise UserError(str(path), f"*{event.anchor} is inside the value that it names", "Write it out")
            values += named.get(str(event.anchor), 1)
        if values > _MOST_VALUES:
            raise UserError(str(path), f"has more than {_MOST_VALUES:,} values", "Give a file of settings")
