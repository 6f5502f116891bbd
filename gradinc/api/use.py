"""``gradinc.use``: folders of one's own parts, in Python."""

from __future__ import annotations

from pathlib import Path

from gradinc.config.own_parts import use_parts


def use(*folders: str | Path) -> None:
    """Let the models, methods and other parts in folders be chosen from now on, as ``--with`` does for a command.

    A folder is laid out like gradinc: ``mylab/models/mynet.py``. Without arguments no folder is used any more.

    Raises:
        gradinc.UserError: a folder, or a part in one, is wrong.
    """
    use_parts(folders)
