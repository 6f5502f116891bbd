"""Several runs, one after another in this process; none of them stops the others."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from gradinc.cli import one_line
from gradinc.commands.arguments import print_columns, printable
from gradinc.config.compose import Job
from gradinc.console import score_shown
from gradinc.errors import UserError
from gradinc.records import read_result

STOPS = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)}
"""Exit codes of a run that a signal ended; the sweep ends with it."""


def sweep(jobs: Sequence[Job], console: Console) -> int:
    """Run the jobs and show what became of each.

    Returns:
        0 if all are finished, 1 if one failed, or the code of the signal that ended the sweep.
    """
    quiet = all(job.config.progress == "quiet" for job in jobs)
    fates: list[str] = []
    code = 0
    for number, job in enumerate(jobs, start=1):
        label = f"[{number}/{len(jobs)}] {_name(job)}"
        if not quiet:
            console.print(Text(printable(label), style="bold"), soft_wrap=True)
        last = _attempt(job, console)
        fates.append(_fate(job, last))
        if not quiet:
            console.print(Text(printable(f"{label}: {fates[-1]}")), soft_wrap=True)
        code = last if last in STOPS else code or min(last, 1)
        if last in STOPS:
            break
    fates += ["not started"] * (len(jobs) - len(fates))
    if not quiet:
        rows = [[_name(job), fate, str(job.directory)] for job, fate in zip(jobs, fates, strict=True)]
        print_columns([["job", "fate", "directory"], *rows])
    return code


def _attempt(job: Job, console: Console) -> int:
    from gradinc.train import execute

    try:
        return execute(job.config, console=console)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except SystemExit as stopped:
        return stopped.code if isinstance(stopped.code, int) else int(stopped.code is not None)
    except UserError as error:
        line = one_line(error)
    except Exception as error:
        line = printable(f"{job.directory}: {type(error).__name__}: {error}")
    sys.stderr.write(line + "\n")
    return 1


def _name(job: Job) -> str:
    return " ".join(job.swept) or job.directory.name


def _fate(job: Job, code: int) -> str:
    """What became of a job, in a word or two."""
    if code in STOPS:
        return "interrupted"
    result = read_result(job.directory / "result.json")
    status = str((result or {}).get("status", "failed"))
    if code != 0:
        return status if status == "diverged" else "failed"
    return f"{status}, test {score_shown((result or {}).get('test'))}"
