"""One start of a run, a segment: its record, and its comparison with the start before."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from gradinc import __version__
from gradinc.base.command import this_command
from gradinc.base.errors import UserError
from gradinc.base.files import write_json
from gradinc.config.catalog import OWN, PACKAGE
from gradinc.config.code import code_digests
from gradinc.config.parts_folder import used_folders
from gradinc.data.stream import Stream
from gradinc.records.directory import RunDirectory
from gradinc.records.environment import changes
from gradinc.runs.display import Display

WATCHING = ("evaluate", "log", "diagnostics")
"""Sections that may change between starts and affect the log afterwards."""


def check_segment(
    directory: RunDirectory,
    earlier: dict[str, Any] | None,
    data_digest: str,
    environment: dict[str, Any],
    display: Display,
) -> None:
    """Compare data and environment with those of the run's earlier starts.

    Raises:
        UserError: the data differ, or the environment differs and ``strict=true``.
    """
    if earlier is None:
        return
    digest = str(earlier.get("data", {}).get("digest"))
    if digest != data_digest:
        what = f"was started with other data (digest {digest[:12]}, now {data_digest[:12]})"
        raise UserError(str(directory.path), what, "Restore the old data, or use a new name=… or fresh=true")
    differing = changes(earlier["segments"][-1], environment)
    changed = "; ".join(f"{name} {before}, now {now}" for name, before, now in differing)
    if changed and directory.config.strict:
        fix = "Resume on the machine where it ran, or without strict"
        raise UserError(str(directory.path), f"ran with {changed}, and strict=true", fix)
    if changed:
        end = "the last bits may differ from an uninterrupted run. It is recorded."
        display.warn(f"{directory.path} ran with {changed}: {end}")


def write_meta(
    directory: RunDirectory,
    earlier: dict[str, Any] | None,
    stream: Stream,
    environment: dict[str, Any],
    step: int | None,
    found: dict[str, Any],
) -> None:
    """Write ``meta.json`` with one more segment.

    Args:
        earlier: its previous content, None for a new run.
        step: first update of the segment, None for the beginning.
        found: values that a search or a measurement has found for the run.
    """
    document = directory.config.document
    watching = {key: document[key] for key in WATCHING}
    segment = {"from_step": step or 0, **environment, **watching, "pid": os.getpid(), "command": this_command()}
    codes = code_digests(document)
    folders = [folder.name for folder in used_folders() if folder.name in codes]
    write_json(
        directory.path / "meta.json",
        {
            "gradinc": __version__,
            "code": codes.pop(OWN),
            **({"plugins": codes} if codes else {}),
            **({"folders": folders} if folders else {}),
            "commit": _commit(),
            "identity": directory.identity,
            "data": stream.record(),
            **found,
            "segments": [*(earlier or {}).get("segments", []), segment],
        },
    )


def _commit() -> str | None:
    """Return the commit of the program's checkout, if it runs from a checkout."""
    root = PACKAGE.parent
    if not (root / ".git").exists():
        return None
    try:
        return subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=5, check=True
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
