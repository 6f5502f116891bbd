"""The base class of trackers, and the rows that they receive."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

from gradinc.records.recorded import RecordedRun


def lock_of(name: str) -> str:
    """Return the file in a run's directory that the process of a tracker locks."""
    return f".{name}.lock"


def log_of(name: str) -> str:
    """Return the file in a run's directory with all that a tracker has printed, and its failures."""
    return f"{name}.log"


class LoggedRow(NamedTuple):
    """All numbers that a run has logged at one update.

    Attributes:
        step: the number of updates.
        time: time of writing, in seconds since 1970; 0 if not recorded.
        values: the numbers by name: ``train/loss``, ``validation/accuracy``, ``row/task 1``, ``lr``.
    """

    step: int
    time: float
    values: dict[str, float]


class Tracker(ABC):
    """A program that shows the numbers of runs. Subclass it in ``gradinc/trackers/<name>.py``.

    It works in a process of its own: the training does not depend on its errors and its speed.

    Attributes:
        packages: modules that it imports, which must be installed.
        extra: the extra of gradinc that installs them, or None.
    """

    packages: ClassVar[Sequence[str]] = ()
    extra: ClassVar[str | None] = None

    @abstractmethod
    def open(self, run: RecordedRun) -> int:
        """Open the tracker's record of a run: a new one, or that of an earlier start of the run.

        Args:
            run: the run, with its config, its name and its id.

        Returns:
            The largest step that the record has already, −1 if it is empty. Only later rows are sent.
        """

    @abstractmethod
    def log(self, rows: Sequence[LoggedRow]) -> None:
        """Add rows, in the order of their steps. A row that is added is added as a whole."""

    @abstractmethod
    def close(self, status: str) -> None:
        """Finish sending.

        Args:
            status: the state of the run, one of `gradinc.records.recorded.STATUSES`.
        """
