"""Execution of a checked config, until the run has ended, or has failed with a line that says how to resume it."""

from __future__ import annotations

import signal

from gradinc.base.command import this_command
from gradinc.base.errors import Interrupted, StorageError
from gradinc.base.signals import interruption
from gradinc.config.code import segment_digests
from gradinc.config.schema import Config
from gradinc.records.directory import RunDirectory
from gradinc.records.search import found_by
from gradinc.runs.display import Display, Silent
from gradinc.runs.ended import tell_if_ended
from gradinc.runs.tracking import check_trackers


def execute(config: Config, display: Display | None = None) -> int:
    """Run a config: start it, resume it, or report that it is finished.

    Args:
        display: the progress display; by default nothing is shown.

    Returns:
        The exit code: 0 done, 1 diverged, 128 + signal when interrupted.

    Raises:
        UserError: the config does not fit its data or its device, or the directory belongs to another run;
            nothing was created.
        StorageError: a file could not be written.
    """
    display = display or Silent()
    directory = RunDirectory(config)
    directory.check_place()
    if not config.fresh:
        directory.check_config()
        if (code := tell_if_ended(directory, display)) is not None:
            return code
    check_trackers(config.trackers)
    search = found_by(config)
    made_by = segment_digests(config.document)  # before any of that code is imported
    from gradinc.runs.device import is_out_of_memory  # the rest needs torch
    from gradinc.runs.starting import start

    with interruption() as stop:
        try:
            return start(directory, search, made_by, display, stop)
        except Interrupted as interrupted:
            name = signal.Signals(interrupted.signum).name
            display.warn(f"stopped by {name} before training. Resume with: {this_command()}")
            return 128 + interrupted.signum
        except Exception as error:
            if is_out_of_memory(error):
                raise _out_of_memory(config) from error
            raise


def _out_of_memory(config: Config) -> StorageError:
    """Return the line with the fix: smaller micro-batches, and proportionally more of them in a window."""
    size, window = config.data.batch_size, config.strategy.window.size
    if config.strategy.window.micro_batch == "auto":
        what = "found micro-batches that do not fit into memory any more"
        fix = f"fresh=true looks again; data.batch_size={size} strategy.window.size={window} is the same update"
        return StorageError("strategy.window.micro_batch=auto", what, fix)
    where, what = f"data.batch_size={size}", "does not fit into memory"
    if size == 1:
        return StorageError(where, what, "Use a smaller model")
    factor = next(number for number in range(2, size + 1) if size % number == 0)
    fix = f"Use data.batch_size={size // factor} strategy.window.size={window * factor}: the same update"
    return StorageError(where, what, fix)
