"""The configuration folders, and the choices of each group of YAML files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gradinc.base.errors import UserError
from gradinc.base.files import is_utf8, open_plain
from gradinc.config import catalog
from gradinc.config.implied import implied
from gradinc.config.parts_folder import shown_path, used_folders
from gradinc.config.yaml_error import not_yaml
from gradinc.config.yaml_size import LOADER, check_yaml_size

GROUPS = ("data", "model", "stream", "optimizer", "schedule", "criterion", "strategy", "experiment", "cluster")
"""The groups that a run chooses from, as ``group=name``."""

LISTED = (*GROUPS, "due", "metric", "augmentation", "tracker", "table")


@dataclass(frozen=True)
class Choice:
    """One YAML file of a group.

    Attributes:
        group: its folder.
        name: its name, with a slash if it is in a folder of its own.
        summary: the first line of its header, or of the docstring of its part.
        paper: the ``Paper:`` line of the header or the part.
        purpose: the ``For:`` line of the header, such as ``tasks, replay`` for a sequence of tasks; empty for any data.
    """

    group: str
    name: str
    summary: str
    paper: str | None
    purpose: str = ""


def conf_folder() -> Path:
    """Return the folder of gradinc's own configuration: the installed one, else the checkout's."""
    installed = catalog.PACKAGE / "conf"
    return installed if installed.is_dir() else catalog.PACKAGE.parent / "conf"


def folders(config_dirs: Sequence[Path] = ()) -> list[Path]:
    """Return gradinc's configuration folder and, after it, ``conf`` of the user's own parts and the user's folders.

    Raises:
        UserError: a folder does not exist.
    """
    for folder in config_dirs:
        if not folder.is_dir():
            raise UserError(f"--config-dir {folder}", "no such folder", "Give a folder of YAML files")
    own = [folder.conf for folder in used_folders() if folder.conf.is_dir()]
    return [conf_folder(), *own, *(folder.resolve() for folder in config_dirs)]


def check_names() -> None:
    """Check that no YAML file of the user's own parts has the name of another choice, which would hide the file.

    Raises:
        UserError: one has.
    """
    own = [folder.conf for folder in used_folders()]
    for number, folder in enumerate(own):
        for path in sorted(folder.rglob("*.yaml")):
            name = path.relative_to(folder)
            for other in (conf_folder(), *own[:number]):
                if (other / name).exists():
                    choice = f"{name.parent.as_posix()}={name.stem}"
                    whose = "gradinc" if other == conf_folder() else shown_path(other.parent)
                    raise UserError(shown_path(path), f"{whose} has {choice}, too", "Give the file another name")


def names(group: str, config_dirs: Sequence[Path] = ()) -> list[str]:
    """Return the possible names of ``group=``."""
    named = [name for name, _ in _files(group, config_dirs)]
    return sorted([*named, *implied(group, named)])


def without_file(config_dirs: Sequence[Path] = ()) -> dict[tuple[str, str], dict[str, Any]]:
    """Return the content of every choice without a YAML file, by its group and its name."""
    found = {group: implied(group, dict(_files(group, config_dirs))) for group in GROUPS}
    return {(group, name): said for group, choices in found.items() for name, said in choices.items()}


def choices(group: str, config_dirs: Sequence[Path] = ()) -> list[Choice]:
    """Return the choices of ``group=``, by name, each with its summary and paper."""
    if group in catalog.KINDS and group not in GROUPS:
        return [Choice(group, part.name, part.summary, part.paper) for part in catalog.parts(group)]
    found = {name: _choice(group, name, path) for name, path in _files(group, config_dirs)}
    for name, said in implied(group, found).items():
        (part,) = _chosen_parts(group, name, said)
        found[name] = Choice(group, name, part.summary, part.paper)
    return [found[name] for name in sorted(found)]


def content(group: str, name: str, config_dirs: Sequence[Path] = ()) -> dict[str, Any]:
    """Return the content of a choice's YAML file, or of the file that a part without one would have; else empty."""
    files = dict(_files(group, config_dirs))
    return _read(files[name]) if name in files else implied(group, files).get(name, {})


def file(group: str, name: str, config_dirs: Sequence[Path] = ()) -> Path | None:
    """Return the YAML file of a choice."""
    return next((path for found, path in _files(group, config_dirs) if found == name), None)


def mentions(path: Path, part: str) -> bool:
    """Return whether a YAML file has a part's name as a word of its own."""
    return line_of(path, part) > 0


def line_of(path: Path, part: str) -> int:
    """Return the number of the first line, from 1, that has a part's name as a word of its own; 0 without one."""
    word = re.compile(rf"(?<![\w-]){re.escape(part)}(?![\w-])")
    lines = path.read_text(encoding="utf-8").splitlines()
    return next((number for number, line in enumerate(lines, 1) if word.search(line)), 0)


def package_of(path: Path) -> str | None:
    """Return the package that a YAML file needs, from a line ``# Package: NAME`` in its header."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#") and line.lstrip("# ").startswith("Package:"):
            return line.partition("Package:")[2].strip() or None
    return None


def methods(strategy: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the methods in the content of a strategy's file, with its values of their options."""
    own = strategy.get("strategy") or strategy  # a file may set keys of the whole tree
    return {name: values or {} for name, values in (own.get("methods") or {}).items()}


def _files(group: str, config_dirs: Sequence[Path]) -> Iterator[tuple[str, Path]]:
    seen = set()
    for folder in folders(config_dirs):
        for path in sorted((folder / group).rglob("*.yaml")):
            if path.exists() and not path.is_file():
                continue  # reading a pipe would block
            name = path.relative_to(folder / group).with_suffix("").as_posix()
            if not is_utf8(name):
                raise UserError(str(path), "the name of this file is not UTF-8", "Rename it")
            if name not in seen:
                seen.add(name)
                yield name, path


def _choice(group: str, name: str, path: Path) -> Choice:
    summary, paper, purpose = _header(path)
    if not summary or paper is None:
        try:
            chosen = _chosen_parts(group, path.stem, _read(path))
        except UserError:  # a listing continues; choosing the file reports the error
            chosen = []
        for part in chosen:
            summary, paper = summary or part.summary, paper or part.paper
    return Choice(group, name, summary, paper, purpose)


def _header(path: Path) -> tuple[str, str | None, str]:
    """Return the summary, the paper and the purpose from the comment lines at the beginning of a YAML file."""
    summary, paper, purpose = "", None, ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if not line.startswith("#"):
            break
        text = line.lstrip("#").strip().rstrip(".")
        if text.startswith("Package:"):
            continue
        if text.startswith("Paper:"):
            paper = text.removeprefix("Paper:").strip()
        elif text.startswith("For:"):
            purpose = text.removeprefix("For:").strip()
        elif text and not text.startswith("@") and not summary:
            summary = text
    return summary, paper, purpose


def _chosen_parts(group: str, name: str, said: dict[str, Any]) -> list[catalog.Part]:
    """Return the part that a file's content chooses by ``name:``, or a strategy's only method or rule; empty if
    unclear."""
    if group != "strategy":
        chosen = [(group, said.get("name", name))] if group in catalog.KINDS else []
    else:
        rule = ((said.get("strategy") or said).get("window") or {}).get("rule")
        chosen = [("method", each) for each in methods(said)] or ([("rule", rule)] if rule else [])
    if len(chosen) != 1:
        return []
    ((kind, wanted),) = chosen
    return [part for part in catalog.parts(kind) if part.name == wanted]


def _read(path: Path) -> dict[str, Any]:
    check_yaml_size(path)
    try:
        with open_plain(path) as file:
            content = yaml.load(file.read().decode(), _Loader)
    except Exception as error:  # of many types, each of which means that the file is not YAML
        raise not_yaml(path, error) from error
    return {str(key): item for key, item in content.items()} if isinstance(content, dict) else {}


class _Loader(LOADER):  # type: ignore[misc, valid-type]
    """The values that OmegaConf, Hydra's reader, would read: no key twice, no dates, and ``1e-3`` is a number."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own attribute)
        first: [(tag, form) for tag, form in forms if not tag.endswith(":timestamp")]
        for first, forms in LOADER.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
        seen = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"found duplicate key {key.value}", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?\d[\d_]*(\.[\d_]*)?[eE][-+]?\d+\Z"), list("-+0123456789")
)
