"""The end of a run in any state: recorded and reported."""

from __future__ import annotations

import signal
import traceback
from typing import Any

import torch

from gradinc.base.command import this_command
from gradinc.base.errors import Diverged, Interrupted, Lost, StorageError, UserError
from gradinc.base.files import write_whole
from gradinc.base.signals import Interruption
from gradinc.records.directory import RunDirectory
from gradinc.runs.checkpoint import fitting
from gradinc.runs.device import is_out_of_memory, peak_memory
from gradinc.runs.display import Display
from gradinc.runs.ended import divergence, tell_end
from gradinc.runs.run import Run
from gradinc.runs.saving import last_checkpoints


def train_to_the_end(
    run: Run,
    directory: RunDirectory,
    device: torch.device,
    search: dict[str, Any] | None,
    display: Display,
    stop: Interruption,
) -> int:
    """Train a run, and record how it ended.

    Args:
        search: record of the search that found the run's values; None without a search.

    Returns:
        The exit code, as in `execute`.
    """
    try:
        run.train()
    except Interrupted as interrupted:
        name = signal.Signals(interrupted.signum).name
        _record_stop(run, directory, "interrupted", signal=name)
        where = f"step {run.learner.updates}"
        display.warn(f"stopped by {name} at {where}, all is saved. Resume with: {this_command()}")
        return 128 + interrupted.signum
    except Diverged as diverged:
        record = _record_stop(run, directory, "diverged", diverged_at=diverged.step, tensor=diverged.tensor)
        display.warn(divergence(directory, record))
        return 1
    except StorageError as error:  # also if the directory is no longer writable: the run exists and can be resumed
        raise StorageError(error.where, error.what, error.fix) from error
    except UserError as error:  # a data file that became unreadable during training
        _record_stop(run, directory, "failed", error=str(error))
        raise
    except Exception as error:
        _fail(run, directory, error)
        raise
    result = {**run.result(), "peak_memory": peak_memory(device)}
    if search is not None:
        result["search"] = search
    directory.write_result(result, last_checkpoints(directory.path))
    (directory.path / "error.log").unlink(missing_ok=True)
    tell_end(directory, result, display)
    return 128 + stop.signum if stop.signum else 0


def _fail(run: Run, directory: RunDirectory, error: Exception) -> None:
    """Record an unexpected error.

    Raises:
        Lost: another process of the run has ended.
        UserError: the checkpoint that the run has just resumed from does not fit this program.
    """
    world = run.learner.place.world
    if not world.alone and world.has_lost(error):
        _record_stop(run, directory, "failed", error="a process was lost")
        what = f"lost one of its {world.size} processes at step {run.learner.updates}"
        raise Lost(
            str(directory.path), what, "The same command resumes, with the same number of processes or another"
        ) from error
    _record_stop(run, directory, "failed", error=f"{type(error).__name__}: {error}")
    if not is_out_of_memory(error):
        write_whole(directory.path / "error.log", "".join(traceback.format_exception(error)).encode())
        if (file := run.restored.untried(run.learner)) is not None:
            with fitting(file):
                raise error


def _record_stop(run: Run, directory: RunDirectory, status: str, **reason: Any) -> dict[str, Any]:
    record = run.stopped(status, **reason)
    directory.write_result(record, last_checkpoints(directory.path))
    return record
