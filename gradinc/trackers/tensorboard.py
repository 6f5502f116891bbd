"""Event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gradinc.base.files import storing
from gradinc.config.documents import flat
from gradinc.config.names import shown
from gradinc.records.keys import settings
from gradinc.records.recorded import RecordedRun
from gradinc.records.tracker import LoggedRow, Tracker

_FOLDER = "tensorboard"
"""The folder of a run's event files in its directory."""


class TensorBoard(Tracker):
    """Event files in the run's directory, for tensorboard --logdir outputs"""

    packages = ("tensorboard",)
    extra = "tensorboard"

    def open(self, run: RecordedRun) -> int:
        """Begin again: a new file with all rows replaces the file of an earlier start."""
        folder = run.path / _FOLDER
        old = list(folder.glob("events.out.tfevents.*"))
        self._events = _Events(folder, run)
        for file in old:
            file.unlink()
        return -1

    def log(self, rows: Sequence[LoggedRow]) -> None:
        self._events.add(rows)

    def close(self, status: str) -> None:
        self._events.close()


def write_events(rows: Iterable[LoggedRow], run: RecordedRun, folder: Path) -> int:
    """Write an event file into a folder, and return how many numbers are in it.

    Raises:
        StorageError: it could not be written.
    """
    with storing(folder):
        events = _Events(folder, run)
        count = events.add(rows)
        events.close()
    return count


class _Events:
    """A file that begins with the run's config. A TensorBoard that is watching forgets the files before it."""

    def __init__(self, folder: Path, run: RecordedRun) -> None:
        from tensorboard.compat.proto import event_pb2
        from tensorboard.plugins.hparams import summary_v2 as hparams
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self._event: Any = event_pb2.Event
        self._file = EventFileWriter(str(folder))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        self._file.add_event(self._event(session_log=start, step=0, wall_time=0.0))
        config = {key: value if isinstance(value, int | float) else shown(value) for key, value in flat(run.config)}
        config["strategy"] = settings(run).get("strategy", "")
        self._file.add_event(self._event(summary=hparams.hparams_pb(config, trial_id=run.name), wall_time=0.0))

    def add(self, rows: Iterable[LoggedRow]) -> int:
        from tensorboard.compat.proto.summary_pb2 import Summary

        count = 0
        for row in rows:
            values = [Summary.Value(tag=name, simple_value=value) for name, value in row.values.items()]
            self._file.add_event(self._event(summary=Summary(value=values), step=row.step, wall_time=row.time))
            count += len(values)
        self._file.flush()
        return count

    def close(self) -> None:
        self._file.close()
