"""``gradinc.train``: one run, from Python."""

from __future__ import annotations

import os
import shlex
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from gradinc.api.own import Own, separated
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
        keys: more keys; a mapping is a section, a list one value. These can be your own objects:
            ``model``, an nn.Module, or a function or class that returns one; ``data``, a pair (x, y) of tensors or
            arrays, or a torch Dataset; ``stream``, a list of such data, one for each task; ``test`` and
            ``validation``, data of these parts; ``criterion`` and ``metric``, functions of the model's outputs and the
            targets that return the loss, or a value, of each row.

    Returns:
        The run, as `gradinc.load` opens it.

    Raises:
        gradinc.UserError: a key or a value is wrong, and nothing was created; or the run diverged.
        KeyboardInterrupt: Ctrl-C has stopped the run; the same call resumes it.
    """
    rest, own = separated(keys, run_name_in(words, keys))
    given = arguments([own.keys, *words], rest)
    jobs = compose_jobs(given)
    if len(jobs) != 1:
        raise UserError(" ".join(given), f"has {len(jobs)} runs", "Use gradinc.sweep")
    return train_job(jobs[0], given, own)


def train_job(job: Job, given: list[str], own: Own) -> FinishedRun:
    """Run a job to its end, here or on its cluster, and open its run.

    Args:
        given: its arguments.
        own: the program's own objects, among them.
    """
    words = ["train", *given]
    with called_as(call_text("train", given, own)), going_on():
        console = Console(quiet=os.environ.get("RANK", "0") != "0")
        if job.cluster.is_here:
            with TerminalDisplay(console, job.config.progress) as display, own_surroundings():
                code = execute(job.config, display)
        else:
            refuse_elsewhere(own)
            code = run_jobs([job], console, words)
    check_code(code, [job])
    return FinishedRun.open(job.directory, own.objects)


def run_name_in(words: Sequence[str | Mapping[str, Any]], keys: Mapping[str, Any]) -> str | None:
    """Return the run's name among arguments, or None."""
    found = [each["name"] for each in (*words, keys) if isinstance(each, Mapping) and "name" in each]
    found += [each.partition("=")[2] for each in words if isinstance(each, str) and each.startswith("name=")]
    return str(found[-1]) if found else None


def call_text(function: str, given: Sequence[str], own: Own) -> str:
    """Return the command of a call, or the call itself if a command has no way to give its objects."""
    if not own.objects:
        return shlex.join(["gradinc", "train", *(["-m"] if function == "sweep" else []), *given])
    ours = set(arguments([own.keys], {}))
    words = [repr(word) for word in given if word not in ours]
    return f"gradinc.{function}({', '.join([*words, *(f'{name}={label}' for name, label in own.shown.items())])})"


def refuse_elsewhere(own: Own) -> None:
    """Refuse objects of this program for runs in other processes.

    Raises:
        UserError: there are objects.
    """
    if own.objects:
        what = "is an object of this program, which has no worker processes for it"
        raise UserError(next(iter(own.shown)), what, "Leave out cluster and n_jobs")


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
