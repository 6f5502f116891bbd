"""A trial during training: its scores so far, and whether to stop it."""

from __future__ import annotations

import signal
from typing import Any

from gradinc.config.compose import Job
from gradinc.records.log import read_log
from gradinc.studies.tune.space import Judged, Space, judged


class TrialWatch:
    """One running trial: it is stopped when it falls behind, or when it has all scores that count."""

    def __init__(self, space: Space, trial: Any, job: Job) -> None:
        self._space, self._trial, self._log = space, trial, job.directory / "metrics.jsonl"
        self._kind = {"sequence": job.config.stream.name != "iid", "joint": job.config.stream.data == "joint"}
        self.now: Judged | None = None
        self.stop, self.pruned = 0, False

    def told(self, said: dict[str, Any]) -> None:
        """Process a worker's report: check for a new score."""
        self.look()

    def look(self) -> None:
        now = judged(self._space, read_log(self._log), **self._kind)
        if now is None or (self.now is not None and now.looks == self.now.looks):
            return
        self.now = now
        if self.stop:
            return
        self._trial.report(now.score, now.looks)
        if self._space.mode == "first-tasks" and now.looks == self._space.tasks:
            self.stop = signal.SIGTERM
        elif self._trial.should_prune():
            self.stop, self.pruned = signal.SIGTERM, True
