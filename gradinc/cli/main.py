"""The command line: finds the command, and turns its errors into one line and an exit code."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import Any, cast

from gradinc import __version__
from gradinc.base.errors import Lost, Stalled, StorageError, Unwritable, UserError
from gradinc.base.streams import Enduring, settle
from gradinc.base.text import one_line

COMMANDS = {
    "train": "train, resume or sweep: gradinc train model=cnn strategy=accumulate",
    "tune": "search for the best values: gradinc tune SPACE.yaml model=mlp",
    "test": "measure a finished run again: gradinc test RUN data=…",
    "runs": "list runs and their results: gradinc runs model.name=cnn --sort test",
    "compare": "results and differing keys side by side: gradinc compare RUN RUN",
    "figure": "figures for papers: gradinc figure bars outputs --to bars.pdf",
    "table": "compare published numbers with ours: gradinc table mnist1d",
    "report": "write an HTML page about runs: gradinc report outputs",
    "diff": "differences between two runs: gradinc diff RUN RUN",
    "export": "logs for TensorBoard, weights as safetensors: gradinc export RUN --safetensors DIR",
    "sharpness": "the Hessian's largest eigenvalue: gradinc sharpness RUN",
    "attack": "count images that an adversary can fool: gradinc attack RUN",
    "invert": "reconstruct images from a run's gradients: gradinc invert RUN",
    "verify": "repeat the last updates and compare the bits: gradinc verify RUN",
    "drill": "kill a job N times and compare the bits: gradinc drill 10 -- train model=cnn",
    "doctor": "check everything that runs need",
    "list": "list models, data sets, strategies: gradinc list strategies",
    "data": "list data sets, or prepare one: gradinc data mnist",
    "bench": "speed against hand-written loops; bench strategies, incremental",
}
"""The commands, each with its line in ``gradinc --help``; their modules are in `gradinc.cli`."""

_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EAGAIN)
"""Errors of the system for standard output on a full disk, or with a reader that is not ready."""

DONE, FAILED, BAD_INPUT, INTERRUPTED, TERMINATED = 0, 1, 2, 130, 143


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: the command line without the program's name; by default ``sys.argv``'s.

    Returns:
        The exit code: 0 done, 1 something failed, 2 bad input, 130 and 143 interrupted.
    """
    if arguments is None:
        signal.signal(signal.SIGTERM, _terminate)
        _open_what_is_closed()
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, TextIOWrapper):  # a terminal without a character shows its number
                stream.reconfigure(errors="backslashreplace", line_buffering=True)  # a pipe gets each line at once
        sys.stderr = cast(Any, Enduring(sys.stderr))  # errors in writing errors are ignored
        try:
            return main(sys.argv[1:])
        finally:
            settle(sys.stdout)
            sys.stderr.flush()
    try:
        code = _dispatch(list(arguments))
        sys.stdout.flush()
    except UserError as error:
        if os.environ.get("RANK", "0") == "0":  # only the first of several processes reports
            sys.stderr.write(one_line(error) + "\n")
        bad = isinstance(error, Unwritable) or not isinstance(error, StorageError | Stalled | Lost)
        return BAD_INPUT if bad else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of the output has closed it; Python would report this again at its own exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return DONE
    except OSError as error:
        if error.filename is not None and error.errno in (errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES):
            path = UserError(os.fsdecode(error.filename), f"cannot be read ({error.strerror})", "Give another path")
            sys.stderr.write(one_line(path) + "\n")
            return BAD_INPUT
        if error.filename is not None or error.errno not in (
            errno.ENOSPC,
            errno.EDQUOT,
            errno.EFBIG,
            errno.EIO,
            errno.EAGAIN,
        ):
            raise  # the error is not about standard output
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.stderr.write(f"standard output: cannot be written ({error.strerror}). Redirect it to another place.\n")
        return FAILED
    return code


def _open_what_is_closed() -> None:
    """Connect a closed standard stream to the null device, before a file of a run takes its number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115  (it stays open as long as the process)


def _dispatch(arguments: list[str]) -> int:
    quiet = [flag for flag in arguments[:1] if flag == "--quiet"]
    name, *rest = arguments[len(quiet) :] or ["--help"]
    if name in ("--help", "-h", "help"):
        print(_help())
        return DONE
    if name == "--version":
        print(f"gradinc {__version__}")
        return DONE
    try:
        os.getcwd()
    except FileNotFoundError:
        raise UserError("working directory", "was removed", "Change to one that exists") from None
    if name in ("-sc", "--shell-completion"):
        name, rest = "completion", rest
    elif name not in COMMANDS:
        raise _no_such_command(name)
    code: int = import_module(f"gradinc.cli.{name}").main([*quiet, *rest])
    return code


def _help() -> str:
    width = max(len(name) for name in COMMANDS)
    commands = "\n".join(f"  {name:{width}}  {line}" for name, line in COMMANDS.items())
    return f"""\
gradinc {__version__}: how gradients are accumulated, enhanced and projected

  gradinc train model=cnn strategy=accumulate
  gradinc train -m strategy=sgd,accumulate seed=0,1,2
  gradinc list models

Commands (details: gradinc COMMAND --help):
{commands}

Options: --help, --version, --quiet (before or after a command), and --json\nwhere a command lists or measures"""


def _no_such_command(name: str) -> UserError:
    from difflib import get_close_matches

    if "=" in name:
        return UserError(name, "is not a command", f"Did you mean gradinc train {name}?")
    near = get_close_matches(name, COMMANDS, n=1)
    return UserError(name, "no such command", f"Did you mean {near[0]}?" if near else f"One of {', '.join(COMMANDS)}")


def _terminate(signum: int, frame: object) -> None:
    raise SystemExit(TERMINATED)
