"""The journal of a search: Optuna's file, its damage, and its lock."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path

from gradinc.base.errors import UserError
from gradinc.records.log import LONGEST_LINE, whole_lines

JOURNAL = "journal.log"
"""The name of the file in the folder of a search."""


def cut_back(journal: Path) -> None:
    """Remove an incomplete last line, which an interrupted search has left.

    Raises:
        UserError: an earlier line was not written by a search.
    """
    if not journal.exists():
        return
    end = whole_lines(journal)
    with open(journal, "rb") as file:
        number = 0
        while (begin := file.tell()) < end:
            number += 1
            try:
                known = isinstance(json.loads(file.readline(LONGEST_LINE)), dict)
            except (ValueError, RecursionError):
                known = False
            if not known and file.tell() < end:
                raise damaged_journal(journal, f"line {number}")
            if not known:
                end = begin
    os.truncate(journal, end)


def damaged_journal(journal: Path, where: str) -> UserError:
    """Return the error of a journal that cannot be used; `where` names its place."""
    fix = "Remove it: the same command then repeats the trials, and finished runs stay"
    return UserError(str(journal), f"is damaged ({where})", fix)


class ThreadLock:
    """The lock of a journal among the threads of this process, which already holds the folder's lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def acquire(self) -> bool:
        return self._lock.acquire()

    def release(self) -> None:
        self._lock.release()
