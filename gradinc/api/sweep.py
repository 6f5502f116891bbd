"""``gradinc.sweep``: several runs, from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from gradinc.api.own import Own, separated
from gradinc.api.train import call_text, check_code, refuse_elsewhere, run_name_in, train_job
from gradinc.base.command import called_as
from gradinc.base.errors import UserError
from gradinc.base.streams import going_on
from gradinc.config.arguments import arguments
from gradinc.config.compose import Job, compose_jobs
from gradinc.config.documents import flat
from gradinc.config.names import short
from gradinc.records.directory import RunDirectory
from gradinc.records.keys import STRATEGY, differing, strategy_name
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
    values = {**dict(flat(run.config.document)), STRATEGY: strategy_name(run.config.document)}
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
    rest, own = separated(keys, run_name_in(words, keys))
    given = [*arguments([own.keys], {}), *arguments(words, rest, sweeps=True)]
    jobs = list({job.directory: job for job in compose_jobs(given, multirun=True)}.values())
    if own.objects:
        return _here(jobs, given, own)
    with called_as(call_text("sweep", given, own)), going_on():
        code = run_jobs(jobs, Console(), ["train", "-m", *given])
    check_code(code, jobs)
    return Runs(FinishedRun.open(job.directory) for job in jobs)


def _here(jobs: Sequence[Job], given: list[str], own: Own) -> Runs:
    """Run jobs one after the other in this process, which has their objects."""
    if not jobs[0].cluster.is_here or jobs[0].cluster.options.get("n_jobs", 1) != 1:
        refuse_elsewhere(own)
    runs, failures = Runs(), list[UserError]()
    for number, job in enumerate(jobs, start=1):
        if job.config.progress != "quiet":
            print(f"[{number}/{len(jobs)}] {' '.join(job.swept)}")
        try:
            runs.append(train_job(job, given, own))
        except UserError as error:
            if (RunDirectory(job.config).result() or {}).get("status") == "diverged":
                runs.append(FinishedRun.open(job.directory, own.objects))
            else:
                failures.append(error)
    if failures:
        what = f"{len(failures)} of {len(jobs)} runs failed; the first: {failures[0]}"
        raise UserError("gradinc.sweep", what.rstrip("."), "The same call tries them again")
    return runs
