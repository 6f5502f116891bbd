"""Runs of an MLflow tracking server, or of its store in a file."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress

import filelock

from gradinc.records.keys import settings
from gradinc.records.recorded import RecordedRun
from gradinc.records.tracker import LoggedRow, Tracker

_EXPERIMENT = "gradinc"
"""The experiment, unless ``MLFLOW_EXPERIMENT_NAME`` gives another one."""

_TAG = "gradinc.id"
"""The tag by which a later start finds the run."""

_EVERY = "place/samples"
"""A number that every row has; it comes last in a batch, so a row with it is whole."""

_MOST_METRICS, _MOST_PARAMS, _LONGEST = 1000, 100, 6000
"""Largest numbers of metrics and of params in a request, and of characters in a param."""

_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "unfinished": "KILLED", "running": "KILLED"}


class MLflow(Tracker):
    """Runs in MLflow, at MLFLOW_TRACKING_URI or in a file of the folder"""

    packages = ("mlflow", "sqlalchemy", "alembic", "sqlparse")
    extra = "mlflow"

    def open(self, run: RecordedRun) -> int:
        import mlflow

        self._turn = _turn(mlflow.get_tracking_uri())
        with self._turn:
            return self._opened(run)

    def _opened(self, run: RecordedRun) -> int:
        from mlflow.entities import Param
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        if self._client.get_experiment_by_name(name) is None:
            with suppress(MlflowException):  # another run has made it in the meantime
                self._client.create_experiment(name)
        experiment = self._client.get_experiment_by_name(name)
        assert experiment is not None
        place = experiment.experiment_id
        known = self._client.search_runs([place], f"tags.`{_TAG}` = '{run.id}'")
        opened = known[0] if known else self._client.create_run(place, run_name=run.name, tags={_TAG: run.id})
        self._run = opened.info.run_id
        self._client.update_run(self._run, status="RUNNING")
        params = [
            Param(_named(key), value[:_LONGEST])
            for key, value in settings(run).items()
            if _named(key) not in opened.data.params
        ]
        for first in range(0, len(params), _MOST_PARAMS):
            self._client.log_batch(self._run, params=params[first : first + _MOST_PARAMS])
        return max((old.step for old in self._client.get_metric_history(self._run, _EVERY)), default=-1)

    def log(self, rows: Sequence[LoggedRow]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(_named(name), value, round(1000 * row.time), row.step)
            for row in rows
            for name, value in sorted(row.values.items(), key=lambda pair: pair[0] == _EVERY)
        ]
        for first in range(0, len(metrics), _MOST_METRICS):
            with self._turn:
                self._client.log_batch(self._run, metrics=metrics[first : first + _MOST_METRICS])

    def close(self, status: str) -> None:
        with self._turn:
            self._client.set_terminated(self._run, _STATUS.get(status, "FAILED"))


def _turn(store: str) -> AbstractContextManager[object]:
    """Return a lock of a store in a file: runs that make it or write to it at the same time would fail."""
    scheme, _, path = store.partition(":///")
    return filelock.FileLock(f"{path.partition('?')[0]}.lock") if scheme == "sqlite" else nullcontext()


def _named(name: str) -> str:
    """Return a name in the characters that MLflow allows."""
    return re.sub(r"[^\w\-. :/]", "_", name, flags=re.ASCII)
