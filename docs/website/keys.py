"""The page of every key of a config: its values, its default and its meaning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_type_hints

from gradinc.cli.train_help import commented
from gradinc.config import groups
from gradinc.config.check import described
from gradinc.config.schema import (
    PARTS,
    PLAIN,
    STRATEGY_KEYS,
    TOP_KEYS,
    Config,
    StrategySection,
    WindowSection,
    common_keys,
)
from website import Incomplete
from website.markdown import code, page, table

SECTIONS: dict[str, tuple[type, str]] = {
    "": (Config, "Keys without a section"),
    **{name: (kind, f"`{name}.`") for name, kind in PARTS.items()},
    "strategy": (StrategySection, "`strategy.`"),
    "strategy.window": (WindowSection, "`strategy.window.`"),
    **{name: (kind, f"`{name}.`") for name, kind in PLAIN.items()},
}


def keys() -> Iterator[tuple[str, str, str]]:
    """Yield section, key and the description of its values, of every key of the schema that is not a part's option."""
    for section, (kind, _) in SECTIONS.items():
        hints = get_type_hints(kind, include_extras=True)
        names = {"": TOP_KEYS, "strategy": (*STRATEGY_KEYS, "methods")}.get(section) or common_keys(kind)
        for name in names:
            yield section, name, described(hints[name])


def key_pages() -> Iterator[tuple[str, str]]:
    """Yield the path and the text of the page.

    Raises:
        Incomplete: a key has no line in conf/config.yaml.
    """
    lines = {key: (value, comment) for key, value, comment in commented(groups.conf_folder() / "config.yaml")}
    rows: dict[str, list[list[str]]] = {section: [] for section in SECTIONS}
    for section, name, values in keys():
        key = f"{section}.{name}".lstrip(".")
        if name == "name" and section in PARTS:
            plural = f"[{section}](index.md#parts)"
            rows[section].append([f"`{key}`", "a name", "–", f"the part; written `{section}=NAME`. {plural}"])
            continue
        if key not in lines or not lines[key][1]:
            raise Incomplete(f"conf/config.yaml: {key} has no line with a comment")
        rows[section].append([f"`{key}`", values, code(lines[key][0]), lines[key][1]])
    heads = ["key", "values", "default", "meaning"]
    tables = [
        f"## {title}\n\n{(kind.__doc__ or '').strip()}\n\n{table(heads, rows[section])}"
        for section, (kind, title) in SECTIONS.items()
    ]
    about = """\
A key is written as `key=value` on the command line of `gradinc train`, `gradinc tune` and `gradinc table`, and in the
calls of `gradinc.train` and `gradinc.sweep`. Parts add their own options: they are on the page of each
[part](index.md#parts). Every key is checked before anything is created."""
    yield "reference/keys", page("# Keys of a config", about, *tables)
