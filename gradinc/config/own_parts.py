"""The user's own parts: folders whose parts can be chosen, checked as a whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gradinc.config.parts_folder import use_folders


def use_parts(folders: Sequence[str | Path]) -> None:
    """Let the parts in folders be chosen, and no longer the parts of folders that were used before.

    Raises:
        UserError: a folder, or a part in one, is wrong.
    """
    use_folders(folders)
    if folders:
        from gradinc.config.catalog import check_folders  # not needed by every command
        from gradinc.config.groups import check_names

        check_folders()
        check_names()
