"""``gradinc.train``: one run, from Python."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from gradinc.base.command import called_as
from gradinc.base.errors import UserError
from gradinc.base.streams import going_on
from gradinc.config.arguments import arguments
from gradinc.config.compose import Job, compose_jobs
from gradinc.records.directory import RunDirectory
from gradinc.runs.ended import divergence
from gradinc.runs.execute import execute
from gradinc.runs.surroundings import own_surroundings
from gradinc.runs.trained import FinishedRun
from gradinc.studies.sweep.sweep import run_jobs
from gradinc.studies.terminal import TerminalDisplay


def train(*words: str | Mapping[str, Any], **keys: Any) -> FinishedRun:
    """Train one run, resume it, or return it if it is finished: the run of ``gradinc train`` with the same keys.

    ``gradinc.train("model=cnn", seed=1, budget={"epochs": 2})`` is ``gradinc train model=cnn seed=1 budget.epochs=2``:
    the same directory, the same digest, the same bits.

    Args:
        words: arguments as on the command line, ``"optimizer.lr=0.1"``, or mappings ``{"optimizer.lr": 0.1}``.
        keys: more keys; a mapping is a section, a list one value.

    Returns:
        The run, as `gradinc.load` opens it.

    Raises:
        gradinc.UserError: a key or a value is wrong, and nothing was created; or the run diverged.
        KeyboardInterrupt: Ctrl-C has stopped the run; the same call resumes it.
    """
    given = arguments(words, keys)
    jobs = compose_jobs(given)
    if len(jobs) != 1:
        raise UserError(" ".join(given), f"has {len(jobs)} runs", "Use gradinc.sweep")
    return train_job(jobs[0], given)


def train_job(job: Job, given: list[str]) -> FinishedRun:
    """Run a job to its end, here or on its cluster, and open its run.

    Args:
        given: its arguments.
    """
    words = ["train", *given]
    with called_as(shlex.join(["gradinc", *words])), going_on():
        console = Console(quiet=os.environ.get("RANK", "0") != "0")
        if job.cluster.is_here:
            with TerminalDisplay(console, job.config.progress) as display, own_surroundings():
                code = execute(job.config, display)
        else:
            code = run_jobs([job], console, words)
    check_code(code, [job])
    return FinishedRun.open(job.directory)


def check_code(code: int, jobs: list[Job]) -> None:
    """Raise for an exit code of one or several runs that have not all ended well.

    Raises:
        KeyboardInterrupt, SystemExit: a signal has stopped them.
        UserError: a run failed, or the only one diverged.
    """
    if code == 128 + signal.SIGINT:
        raise KeyboardInterrupt
    if code >= 128:
        raise SystemExit(code)
    results = {job.directory: RunDirectory(job.config).result() or {} for job in jobs} if code else {}
    if len(jobs) == 1 and results and results[jobs[0].directory].get("status") == "diverged":
        directory = RunDirectory(jobs[0].config)
        where, _, what = divergence(directory, results[directory.path]).partition(" diverged ")
        raise UserError(where, f"diverged {what.rstrip('.')}")
    failed = [path for path, result in results.items() if result.get("status") not in ("finished", "diverged")]
    if failed:
        raise UserError(_named(failed), "did not finish", "The messages above say why; the same call tries again")


def _named(paths: list[Path]) -> str:
    return str(paths[0]) if len(paths) == 1 else f"{len(paths)} runs ({paths[0]}, …)"
