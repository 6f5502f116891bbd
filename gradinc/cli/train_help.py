"""The page of ``gradinc train --help``, from the YAML files and the parts' docstrings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from gradinc.config import catalog, groups
from gradinc.config.definitions import definition_in
from gradinc.config.names import shown

_EXAMPLES = (
    ("gradinc train model=cnn strategy=accumulate", "a convolutional network, one update from 8 micro-batches"),
    ("gradinc train data=image_folder data.root=DIR", "your own images, one folder for each class"),
    ("gradinc train optimizer=adam optimizer.lr=0.002", "another optimizer and its learning rate"),
    ("gradinc train -m optimizer.lr=0.01,0.1 seed=0,1,2", "a sweep over every combination"),
    ("gradinc train experiment=article_linear", "an experiment with all its settings"),
    ("gradinc train model=mlp --cfg job", "show the config and run nothing"),
)

OPTIONS = (
    ("-m, --multirun", "run every combination of the values with commas"),
    ("-c, --cfg job|hydra|all", "show the composed config; with -p SECTION a part of it, with --resolve its ${…}"),
    ("-i, --info [WHAT]", "show how Hydra composes: all, config, defaults, defaults-tree, plugins, searchpath"),
    ("--with FOLDER", "a folder of your own models, methods and other parts; repeatable"),
    ("-cd, --config-dir DIR", "a folder of YAML files of your own, in groups like gradinc's"),
    ("-sc install=bash", 'shell completion: eval "$(gradinc -sc install=bash)"; also fish, zsh'),
    ("-q, --quiet", "no progress, only warnings and errors; the same as progress=quiet"),
)

WIDTH = 100
"""Characters in a line of names."""

_SECTIONS = re.compile(r"^(?:Args|Raises|Returns):$", re.MULTILINE)
"""Headings that end the general part of a docstring."""

LINE = re.compile(r"(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*)(?:#\s*(?P<comment>.*))?$")


def train_help(overrides: Sequence[str] = (), config_dirs: Sequence[Path] = ()) -> str:
    """Return the page for the chosen parts, or the default ones.

    Parts that the overrides choose come first, with what their docstrings say: a formula, its constants, its limits.
    """
    top = list(commented(groups.conf_folder() / "config.yaml"))
    chosen = _chosen(overrides)
    lines = ["usage: gradinc train [group=name ...] [key=value ...] [-m]", ""]
    named = [group for group in groups.GROUPS if any(text.lstrip("+").startswith(f"{group}=") for text in overrides)]
    for group in named:
        for name in chosen.get(group, ()):
            lines += _about(group, name, config_dirs) + _options(group, name, config_dirs)
    lines += _block("Examples", _EXAMPLES)
    lines += _block(
        "Groups, with the chosen name in brackets (gradinc list describes the names)",
        _groups(chosen, config_dirs),
    )
    lines += _block("Keys", ((f"{key}={value}", comment) for key, value, comment in top if comment))
    for group in groups.GROUPS:
        for name in chosen.get(group, ()) if group not in named else ():
            lines += _options(group, name, config_dirs)
    lines += ["Other parts have other options: gradinc train model=vit --help shows vit's.", ""]
    lines += _block("Flags", OPTIONS)
    return "\n".join(lines).rstrip()


def _block(title: str, rows: Iterator[tuple[str, str]] | Sequence[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = min(max(len(left) for left, _ in rows), 52)
    return [f"{title}:", *(f"  {left:{width}}  {right}".rstrip() for left, right in rows), ""]


def _groups(chosen: Mapping[str, Sequence[str]], config_dirs: Sequence[Path]) -> Iterator[tuple[str, str]]:
    for group in groups.GROUPS:
        names = groups.names(group, config_dirs)
        picked = chosen.get(group, ())
        listed = ", ".join(f"[{name}]" if name in picked else name for name in names)
        for number, line in enumerate(wrap(listed, WIDTH, break_on_hyphens=False)):
            yield ("" if number else f"{group}="), line


def _chosen(overrides: Sequence[str]) -> dict[str, list[str]]:
    """Return the names in each group: from the arguments, else from ``defaults`` in conf/config.yaml."""
    text = (groups.conf_folder() / "config.yaml").read_text(encoding="utf-8")
    written = [f"{group}={name}" for group, name in re.findall(r"^  - (\w+): (\S+)$", text, re.MULTILINE)]
    chosen = {}
    for item in (*written, *overrides):
        group, _, names = item.lstrip("+").partition("=")
        if group in groups.GROUPS:
            chosen[group] = [name for name in names.strip("[]").split(",") if name != "null"]
    return chosen


def _about(group: str, name: str, config_dirs: Sequence[Path]) -> list[str]:
    """Return the docstrings of a choice's parts, up to the entries of their options."""
    lines: list[str] = []
    for part, _, _ in _parts(group, name, config_dirs):
        text = ast.get_docstring(definition_in(part.path, part.symbol)) or ""
        told = _SECTIONS.split(text)[0].strip().splitlines()
        lines += [f"About {part.kind} {part.name}:", *(f"  {line}".rstrip() for line in told), ""]
    return lines


def _options(group: str, name: str, config_dirs: Sequence[Path]) -> list[str]:
    """Return each option of a choice's parts with its value and its line of help."""
    rows = [
        (f"{where}{option}={shown(values.get(option, parameter.default))}", parameter.help)
        for part, values, where in _parts(group, name, config_dirs)
        for option, parameter in part.parameters.items()
    ]
    return _block(f"Options of {group}={name}", rows) if rows else []


def _parts(group: str, name: str, config_dirs: Sequence[Path]) -> Iterator[tuple[catalog.Part, Mapping[str, Any], str]]:
    """Yield the parts that a choice names, each with its values and the beginning of its keys."""
    content = groups.content(group, name, config_dirs)
    named: list[tuple[str, str, Mapping[str, Any], str]] = []
    if group == "strategy":
        named = [("method", key, values, f"strategy.methods.{key}.") for key, values in groups.methods(content).items()]
    elif group in catalog.KINDS:
        named = [(group, content.get("name", name), content, f"{group}.")]
    for kind, key, values, where in named:
        yield from ((part, values, where) for part in catalog.parts(kind) if part.name == key)


def commented(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yield each key of a YAML file in block style, with its value and the comment after it."""
    sections: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        found = LINE.match(line)
        if found:
            depth = len(found["indent"]) // 2
            sections = [*sections[:depth], found["key"]]
            yield ".".join(sections), found["value"].strip(), found["comment"] or ""
