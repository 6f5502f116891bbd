"""Data sent between a sweep and its workers: plain data, checked again on the other side."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gradinc.config.parts_folder import used_folders


@dataclass(frozen=True)
class Shipment:
    """One job that is sent to a worker.

    Attributes:
        number: its place in the sweep, from 0.
        document: its config, composed and resolved when the sweep began.
        code: digests of the packages' code where the job was composed; a worker with other code refuses the job.
        folder: the directory that relative paths in the config start from.
        directory: the run's directory, relative to `folder`.
        arguments: the sweep's command line, which also resumes the sweep.
        folders: the folders of the user's own parts, the same for all jobs of a sweep.
    """

    number: int
    document: dict[str, Any]
    code: dict[str, str]
    folder: str
    directory: str
    arguments: tuple[str, ...]
    folders: tuple[str, ...] = field(default_factory=lambda: tuple(str(each.path) for each in used_folders()))

    def line(self) -> bytes:
        """The job as one line of JSON."""
        return (json.dumps({"job": asdict(self)}) + "\n").encode()

    @property
    def path(self) -> Path:
        """The run's directory."""
        return Path(self.folder) / self.directory


@dataclass(frozen=True)
class Ending:
    """The result of a job from a worker.

    Attributes:
        code: the exit code that the run alone would have had.
        line: the error in one line; empty if the run has reported it.
        death: how the worker's process ended, if the job crashed it.
        seconds: duration of the job, including its overhead.
    """

    code: int
    line: str = ""
    death: str = ""
    seconds: float = 0.0
