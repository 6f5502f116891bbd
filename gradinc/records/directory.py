"""A run's directory: its place, its lock and its files. Imports no torch."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import yaml

from gradinc.base.crash import crash_point
from gradinc.base.errors import UserError
from gradinc.base.files import check_plain, storage_error, storing, write_json, write_whole
from gradinc.config.catalog import UnknownPart
from gradinc.config.identity import changed, identity_digest, run_directory
from gradinc.config.schema import Config
from gradinc.config.validation import validate
from gradinc.config.yaml_error import not_yaml
from gradinc.config.yaml_size import check_yaml_size
from gradinc.records.lock import ANOTHER, LOCK, OWNER, PATIENCE, living_owner, owner
from gradinc.records.schemas import ENDED, called_now, is_run, read_meta, read_result
from gradinc.records.seal import SEAL, check_seal, seal

FOLDERS = ("ckpt", "measured")
"""Folders in a run's directory: its checkpoints, and later measurements of its weights."""

OURS = (
    "measured",
    "result.json",
    "ckpt",
    "meta.json",
    "metrics.jsonl",
    "timing.jsonl",
    "error.log",
    "config.yaml",
    "owner.json",
)
"""Everything that is written into a run's directory except the lock, in the order of removal: after an interrupted
removal the remaining files are still a run that can be resumed."""

SEALED = ("config.yaml", "meta.json", "metrics.jsonl", "timing.jsonl")
"""The files that a run's seal covers, besides ``result.json`` and its final checkpoints."""


class RunDirectory:
    """The directory of one run, named by the content of its config unless ``name=`` is given.

    Attributes:
        path: the directory, which may not exist yet.
        identity: digest of everything in the config that the run's numbers depend on.
    """

    def __init__(self, config: Config) -> None:
        output = Path(config.output)
        self.config = config
        self.path = run_directory(config)
        self.identity = identity_digest(config)
        try:
            self._check_path(output)
        except OSError as error:  # a name that is too long, a loop of links
            what = f"cannot be a place for runs ({error.strerror})"
            raise UserError(f"output={config.output}", what, "Use another output=…") from error

    def _check_path(self, output: Path) -> None:
        for folder in (self.path, output, *output.parents):
            if folder.is_symlink() and not folder.exists():
                what = f"is a link to {os.readlink(folder)}, which does not exist"
                raise UserError(str(folder), what, "Make that directory, or use another output=…")
        for folder in (output, *output.parents):
            if folder.exists() and not folder.is_dir():
                what = "is a file" if folder == output else f"leads through {folder}, which is a file"
                raise UserError(f"output={output}", what, "Give a directory, which need not be there yet")
        if self.path.exists() and self.path.resolve().parent != output.resolve():
            raise UserError(str(self.path), "leads outside the output directory", "Use another name=…")
        if self.path.exists() and not self.path.is_dir():
            raise UserError(str(self.path), "is a file, where the run's directory should be", "Use another name=…")

    def check_place(self) -> None:
        """Check that the run's directory is free or is a run's, and that none of its files leads elsewhere.

        Raises:
            UserError: there is a directory that is not a run's; or a file of the run is a link or a device, which would
                store the content in another place.
        """
        try:
            places = list(_written_places(self.path))
        except OSError as error:
            what = f"cannot be read ({error.strerror})"
            raise UserError(str(self.path), what, "Check its permissions, or use another name=…") from error
        for path in places:
            if path.parent != self.path or path.name not in FOLDERS or path.is_symlink():
                check_plain(path, "where a run writes", "or use another name=…")
            elif not path.is_dir():
                raise UserError(str(path), "is not a directory, where a run writes", "Remove it, or use another name=…")
        if self.path.exists() and not (self.path / "config.yaml").exists():
            strangers = {path.name for path in self.path.iterdir() if not path.name.startswith(".")} - set(OURS)
            if strangers:
                raise UserError(str(self.path), "is not the directory of a run", "Use another name=… or output=…")

    def check_config(self) -> None:
        """Compare with the config that the run was started with.

        A damaged ``config.yaml`` is accepted if ``meta.json`` has the identity of this config: `restore_config` can
        then write it again.

        Raises:
            UserError: a key that the run's numbers depend on has another value now, or this cannot be checked.
        """
        file = self.path / "config.yaml"
        meta = read_meta(self.path / "meta.json")
        if meta is not None and meta["identity"] == self.identity:
            return
        if not file.exists():
            if meta is not None:
                what = "is missing, and by its meta.json the run was started with another config"
                raise UserError(str(file), what, "Restore it, or use a new name=…")
            return
        try:
            old = read_config(self.path)
        except UserError as error:
            fix = "Restore the old file, or use fresh=true to start again"
            raise UserError(error.where, error.what, fix) from error
        differences = changed(old.document, self.config.document)
        if differences:
            key, before, now = differences[0]
            more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
            raise UserError(
                str(self.path),
                f"was started with {key}={_shown(before)}, now {_shown(now)}{more}",
                "Use a new name=…, or resume with the old value",
            )
        if meta is not None:
            what = "was changed: by its meta.json the run was started with another config"
            raise UserError(str(file), what, "Restore the old file, or use a new name=…")

    def has_config(self) -> bool:
        """Return whether ``config.yaml`` is this run's."""
        try:
            return not changed(read_config(self.path).document, self.config.document)
        except UserError:
            return False

    def restore_config(self) -> str | None:
        """Write ``config.yaml`` if it is not this run's, after `check_config` has accepted this config.

        Returns:
            A sentence about it if an old file existed.
        """
        return None if self.has_config() else self._rewrite_config()

    def _rewrite_config(self) -> str | None:
        file = self.path / "config.yaml"
        said = f"{file} was damaged. It is written again." if file.exists() else None
        self.write_config()
        return said

    def result(self) -> dict[str, Any] | None:
        """Return the content of ``result.json``, or None if the run has not ended."""
        return read_result(self.path / "result.json")

    def check_seal(self, result: dict[str, Any]) -> str | None:
        """Check that the files of an ended run, accepted by `check_config`, are the files that it ended with.

        A wrong ``config.yaml`` is written again.

        Returns:
            A sentence about it if an old file existed.

        Raises:
            UserError: another file is missing or was changed.
        """
        wrong = check_seal(result, self.path)
        for name in wrong:
            if name != "config.yaml":
                raise UserError(str(self.path / name), wrong[name], "Restore it, or use fresh=true to run it again")
        if not wrong:
            return self.restore_config()
        said = self._rewrite_config()
        if check_seal(result, self.path):  # the same run, with another folder or another progress
            write_json(self.path / "result.json", seal(result, self.path, result[SEAL]["files"]))
        return said

    def meta(self) -> dict[str, Any] | None:
        """Return the content of ``meta.json``, or None if there is none.

        Raises:
            UserError: it is missing or damaged in a run that has begun: its data are then not known.
        """
        meta = read_meta(self.path / "meta.json")
        if meta is None and (self.path / "ckpt").exists() and any((self.path / "ckpt").iterdir()):
            fix = "Restore it, or use fresh=true to start again"
            raise UserError(str(self.path / "meta.json"), "is missing or damaged", fix)
        return meta

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Create the directory if necessary, and lock it against every other process.

        Raises:
            UserError: another process has locked it.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise storage_error(self.path, error) from error
        crash_point("directory-made")
        lock = filelock.FileLock(self.path / LOCK)
        try:
            lock.acquire(timeout=PATIENCE)
        except filelock.Timeout:
            raise UserError(
                str(self.path), f"is in use by {self._owner()}", "Wait for it, or use another name=…"
            ) from None
        except OSError as error:
            raise storage_error(self.path / LOCK, error) from error
        try:
            crash_point("lock-taken")
            write_json(self.path / OWNER, owner())
            yield
        finally:
            with suppress(OSError):  # the error that ended the run matters more than a remaining file
                (self.path / OWNER).unlink(missing_ok=True)
            lock.release()

    def clear(self) -> None:
        """Remove the files of an earlier run of this name. Only files that runs write are removed."""
        for name in OURS:
            path = self.path / name
            with storing(path):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                elif name != "owner.json":
                    path.unlink(missing_ok=True)
            crash_point("cleared")

    def write_config(self) -> None:
        """Store the config that the run is started with, with the keys in the order in which they act."""
        text = yaml.safe_dump(self.config.document, sort_keys=False, allow_unicode=True)
        write_whole(self.path / "config.yaml", text.encode())

    def write_result(self, result: dict[str, Any], checkpoints: Sequence[str] = ()) -> None:
        """Write ``result.json``, sealed: the last file that a run writes.

        Args:
            checkpoints: names, as ``ckpt/164``, of the final checkpoints.
        """
        crash_point("before-result")
        files = [*SEALED, *checkpoints] if result["status"] in ENDED else []
        with storing(self.path / "result.json"):
            result = seal(result, self.path, files)
        write_json(self.path / "result.json", result)
        crash_point("result-written")

    def _owner(self) -> str:
        """Return a description of the process that locked the directory, after a moment for it to write its file."""
        for _ in range(20):
            if (named := living_owner(self.path)) not in (None, ANOTHER):
                return str(named)
            time.sleep(0.05)
        return ANOTHER


def find_run(run: str | os.PathLike[str], output: str = "outputs") -> Path:
    """Return the directory of a run, from its path or its name under the output directory.

    Raises:
        UserError: there is no such run.
    """
    for path in (Path(run), Path(output) / run):
        if (path / "config.yaml").is_file():
            return path
        if is_run(path):
            raise UserError(str(path / "config.yaml"), "is missing", AGAIN)
    for path in (Path(run), Path(output) / run):
        if (now := called_now(path)) is not None:
            return find_run(now)
    raise UserError(str(run), "no such run", f"Give the path of a run's directory, or a name under {output}/")


AGAIN = "Restore it, or run the run's own command again, which writes it"
"""The fix for a config that cannot be read."""


def read_config(path: Path) -> Config:
    """Return the config in a run's directory: data, validated like any other before use.

    Raises:
        UserError: it is not a config of this version.
    """
    file = path / "config.yaml"
    try:
        check_yaml_size(file)
    except UserError as error:
        raise UserError(error.where, error.what, AGAIN) from error
    try:
        document = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise not_yaml(file, error, AGAIN) from error
    if not isinstance(document, dict):
        raise UserError(str(file), "is not a config", AGAIN)
    try:
        return validate(document)
    except UnknownPart as error:
        raise UserError(str(file), *_missing_part(error, path)) from error
    except UserError as error:
        raise UserError(str(file), f"{error.where}: {error.what}", AGAIN) from error


def _missing_part(error: UnknownPart, path: Path) -> tuple[str, str]:
    """Return what is wrong and the fix, for a run with a part of a folder or a package that is not here."""
    meta = read_meta(path / "meta.json") or {}
    if folders := meta.get("folders"):
        what = f"{error.where} is in the folder {' or '.join(folders)} of the user's own parts"
        return what, "Give " + " ".join(f"--with {name}" for name in folders)
    if plugins := meta.get("plugins"):
        return f"{error.where} is in the package {' or '.join(plugins)}", f"Install {' and '.join(plugins)}"
    return f"{error.where}: {error.what}", AGAIN


def _written_places(run: Path) -> Iterator[Path]:
    """Yield the existing files under the names that a run writes to."""
    folders = [run, *(run / name for name in FOLDERS if (run / name).is_dir() and not (run / name).is_symlink())]
    for folder in folders:
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if folder != run or path.name in (*OURS, ".lock") or path.name.endswith(".tmp"):
                yield path


def _shown(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
