"""``gradinc.sweep``: several runs, from Python."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from gradinc.api.train import check_code
from gradinc.base.command import called_as
from gradinc.base.errors import UserError
from gradinc.base.streams import going_on
from gradinc.config.arguments import arguments
from gradinc.config.compose import compose_jobs
from gradinc.config.documents import flat
from gradinc.config.names import short
from gradinc.records.keys import STRATEGY, differing, strategy_label
from gradinc.records.recorded import RecordedRun
from gradinc.runs.trained import FinishedRun
from gradinc.studies.sweep.sweep import run_jobs


class Runs(list[FinishedRun]):
    """The runs of a sweep, in the order of its grid."""

    def table(self) -> Any:
        """Return a pandas DataFrame with a row for each run: the keys that differ, the status and the numbers of the
        result.

        Raises:
            gradinc.UserError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            what = "needs pandas, which is not installed"
            raise UserError("runs.table()", what, 'pip install "gradinc[pandas]"') from None
        recorded = [RecordedRun.open(run.path) for run in self]
        keys = differing(recorded)
        return pandas.DataFrame([_row(run, each, keys) for run, each in zip(self, recorded, strict=True)])


def _row(run: FinishedRun, recorded: RecordedRun, keys: Sequence[str]) -> dict[str, Any]:
    """Return a run's row: typed values of the keys, and the numbers of its result."""
    values = {**dict(flat(run.config.document)), STRATEGY: strategy_label(run.config.document)}
    found: dict[str, Any] = {"run": recorded.name, **{short(key, keys): values.get(key) for key in keys}}
    found["status"] = recorded.status
    for part in ("test", "validation", "metrics"):
        measures = recorded.result.get(part) or {}
        found |= {f"{part}.{name}" if part != "metrics" else name: value for name, value in measures.items()}
    return found | {name: recorded.result.get(name) for name in ("samples", "steps", "seconds")}


def sweep(*words: str | Mapping[str, Any], **keys: Any) -> Runs:
    """Train the runs of ``gradinc train -m`` with the same keys, in worker processes; finished runs are not repeated.

    A list, tuple or range has the values of a sweep: ``gradinc.sweep("strategy=sgd,accumulate", seed=range(3))`` has
    six runs. A list that is one value is in a list of its own: ``strategy=[["accumulate", "clip"], "sgd"]``.

    Args:
        words: arguments as on the command line, or mappings of keys.
        keys: more keys.

    Returns:
        The runs, finished or diverged.

    Raises:
        gradinc.UserError: a key or a value is wrong, and nothing was created; or a run failed, after the others ended.
        KeyboardInterrupt: Ctrl-C has stopped the sweep; the same call resumes it.
    """
    given = arguments(words, keys, sweeps=True)
    jobs = compose_jobs(given, multirun=True)
    command = ["train", "-m", *given]
    with called_as(shlex.join(["gradinc", *command])), going_on():
        code = run_jobs(jobs, Console(), command)
    check_code(code, jobs)
    return Runs(FinishedRun.open(path) for path in dict.fromkeys(job.directory for job in jobs))
