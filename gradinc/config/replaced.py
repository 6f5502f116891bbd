"""Options of a window's rule or due that a later strategy has replaced."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gradinc.config import catalog, groups
from gradinc.config.documents import mapping
from gradinc.config.schema import WindowSection


def replaced(document: Mapping[str, Any], typed: Collection[str], config_dirs: Sequence[Path] = ()) -> list[str]:
    """Return the sections of ``strategy.window`` that a file has set for a part that is no longer chosen.

    ``strategy=[trimmed,median]`` has the median's rule, but also the option that ``trimmed.yaml`` sets for its own
    rule. Only values that a strategy's file sets for its own part are replaced; anything else is a mistake.

    Args:
        document: the composed document.
        typed: keys that were given on the command line.
        config_dirs: the user's folders.

    Returns:
        Keys, such as ``strategy.window.trimmed``.
    """
    window = mapping(mapping(document, "strategy"), "window", "strategy.")
    found = []
    for kind in ("rule", "due"):
        chosen = window.get(kind, getattr(WindowSection, kind))
        for part in catalog.parts(kind):
            key = f"strategy.window.{part.name}"
            own = window.get(part.name)
            if part.name == chosen or own is None or any(name == key or name.startswith(f"{key}.") for name in typed):
                continue
            if any(_says(said, kind, part.name, own) for said in _windows(config_dirs)):
                found.append(key)
    return found


def _windows(config_dirs: Sequence[Path]) -> list[Mapping[str, Any]]:
    """The windows of all strategy files."""
    contents = (groups.content("strategy", name, config_dirs) for name in groups.names("strategy", config_dirs))
    return [(content.get("strategy") or content).get("window") or {} for content in contents]


def _says(window: Mapping[str, Any], kind: str, name: str, options: Any) -> bool:
    return window.get(kind) == name and window.get(name) == options
