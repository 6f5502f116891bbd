"""Runs of Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from gradinc.config.documents import flat
from gradinc.records.keys import settings
from gradinc.records.recorded import RecordedRun
from gradinc.records.tracker import LoggedRow, Tracker

_PROJECT = "gradinc"
"""The project, unless ``WANDB_PROJECT`` gives another one."""


class Wandb(Tracker):
    """Runs in Weights & Biases; WANDB_MODE=offline needs no network"""

    packages = ("wandb",)
    extra = "wandb"

    def open(self, run: RecordedRun) -> int:
        import wandb

        from gradinc.trackers.wandb_file import last_step

        self._run = wandb.init(
            dir=os.environ.get("WANDB_DIR", run.path),  # where a later start finds the files
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            id=run.id,
            name=run.name,
            resume="allow",
            config={**dict(flat(run.config)), "strategy": settings(run).get("strategy")},
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True, disable_code=True),
        )
        file = Path(self._run.settings.sync_file)
        earlier = file.parent.parent.glob(f"offline-run-*-{run.id}/{file.name}")
        return max([self._run.starting_step - 1, *map(last_step, earlier)])

    def log(self, rows: Sequence[LoggedRow]) -> None:
        for row in rows:
            self._run.log(row.values, step=row.step, commit=True)

    def close(self, status: str) -> None:
        self._run.finish(exit_code=int(status in ("failed", "diverged")))
