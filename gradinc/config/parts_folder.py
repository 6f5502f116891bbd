"""Folders of the user's own parts, laid out like gradinc and requested by ``--with FOLDER``.

Python code is run from a folder only if the command line or a caller names the folder. A config or a run directory
cannot name one: a run's record has the name of the package only, for a message.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

from gradinc.base.errors import UserError


@dataclass(frozen=True)
class PartsFolder:
    """A folder whose parts can be chosen.

    Attributes:
        name: the package that its modules are imported as.
        path: the folder, resolved.
        given: the folder as it was given, for messages.
    """

    name: str
    path: Path
    given: Path = field(compare=False)

    @property
    def conf(self) -> Path:
        """The folder of its YAML files, existing or not."""
        return self.path / "conf"

    def sources(self) -> list[Path]:
        """Return its Python files, without hidden folders and virtual environments."""
        return sorted(_python_files(self.path))


class _Folders(MetaPathFinder):
    """The folders in use, and the import of their packages."""

    def __init__(self) -> None:
        self.used: tuple[PartsFolder, ...] = ()

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for folder in self.used:
            if fullname == folder.name:
                place = [str(folder.path)]
                if (init := folder.path / "__init__.py").is_file():
                    return spec_from_file_location(fullname, init, submodule_search_locations=place)
                spec = ModuleSpec(fullname, None, is_package=True)
                spec.submodule_search_locations = place
                return spec
        return None


_FOLDERS = _Folders()


def used_folders() -> tuple[PartsFolder, ...]:
    """Return the folders in use, in the order in which they were given."""
    return _FOLDERS.used


def shown_path(path: Path) -> str:
    """Return the path of a file as the user would write it, if it is in one of the folders in use."""
    for folder in _FOLDERS.used:
        if path.is_relative_to(folder.path):
            return str(folder.given / path.relative_to(folder.path))
    return str(path)


def with_options() -> list[str]:
    """Return the options of a command that let the parts of the folders in use be chosen again."""
    return [f"--with={folder.given}" for folder in _FOLDERS.used]


def use_folders(given: Iterable[str | Path]) -> None:
    """Let the parts in these folders be chosen, and no longer the parts of folders that were used before.

    The modules of a folder are imported as a package with the folder's name: ``mylab.models.mynet``.

    Raises:
        UserError: a folder does not exist or has no parts, or its name is the name of another package.
    """
    folders = {folder.path: folder for folder in map(_opened, given)}
    names: dict[str, Path] = {}
    for folder in folders.values():
        if names.setdefault(folder.name, folder.path) != folder.path:
            what = f"its package would have the name {folder.name}, as {names[folder.name]} has"
            raise UserError(f"--with {folder.given}", what, "Rename one of the folders")
        _refuse_other_package(folder)
    if (used := tuple(folders.values())) == _FOLDERS.used:
        return
    for old in _FOLDERS.used:
        for module in [name for name in sys.modules if name == old.name or name.startswith(f"{old.name}.")]:
            del sys.modules[module]
    _FOLDERS.used = used
    if _FOLDERS not in sys.meta_path:
        sys.meta_path.insert(0, _FOLDERS)


def _opened(given: str | Path) -> PartsFolder:
    path, fix = Path(given), "Give a folder with models/, methods/ or others of gradinc's folders"
    if not path.is_dir():
        what = "is not a folder" if path.exists() else "no such folder"
        raise UserError(f"--with {given}", what, fix)
    if not any(any(path.glob(pattern)) for pattern in ("*/*.py", "conf/*/*.yaml")):
        raise UserError(f"--with {given}", "has no folder with parts", fix)
    resolved = path.resolve()
    return PartsFolder(re.sub(r"\W", "_", resolved.name) or "_", resolved, path)


def _refuse_other_package(folder: PartsFolder) -> None:
    """Refuse a folder whose name would hide a package of Python or of the environment."""
    name = folder.name
    spec = PathFinder.find_spec(name)
    # Any folder on the path is a package without an origin, also the folder itself.
    elsewhere = spec is not None and spec.origin is not None and Path(spec.origin).resolve().parent != folder.path
    if elsewhere or name in sys.stdlib_module_names or name == "gradinc":
        raise UserError(f"--with {folder.given}", f"{name} is the name of an installed package", "Rename the folder")


def _python_files(folder: Path) -> Iterable[Path]:
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            if not path.is_symlink() and not (path / "pyvenv.cfg").exists():
                yield from _python_files(path)
        elif path.suffix == ".py" and path.is_file():
            yield path
