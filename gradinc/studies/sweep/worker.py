"""A process that runs jobs one after another: torch is imported once, and a crash of a job ends only this process.

Requests are JSON lines on its standard input, ``{"job": …}`` or ``{"stop": signal}``; reports are JSON lines on its
original standard output. All code that the worker could need is imported, and read from the program's sources, before
the first job: edits during a sweep take effect in the next sweep.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, cast

from gradinc.base.errors import UserError
from gradinc.base.files import write_whole
from gradinc.base.loading import loading
from gradinc.base.streams import Enduring
from gradinc.base.text import one_line, printable
from gradinc.config import catalog
from gradinc.config.code import current_digest, package_digest, registered_packages
from gradinc.config.parts_folder import use_folders
from gradinc.config.schema import Config
from gradinc.config.validation import validate
from gradinc.records.directory import RunDirectory
from gradinc.runs.display import Silent

_SHOWN_EVERY = 0.2
"""Seconds between two reports of a job's progress."""

_PATIENCE = 10.0
"""Seconds in which a job must save its state after the process that started the worker has ended."""

NOT_NEEDED = ("api", "cli", "studies")
"""Packages in gradinc whose code no run uses."""


class Loaded(NamedTuple):
    """The result of an import of everything that jobs need.

    Attributes:
        packages: packages whose code was not edited while it was imported.
        alone: whether no part of another package has started a thread.
    """

    packages: set[str]
    alone: bool


def serve(loaded: Loaded | None = None, folders: Sequence[str] = ()) -> None:
    """Serve until the input ends.

    Args:
        loaded: result of `load` in the process that this one was forked from, if it was.
        folders: the folders of the user's own parts, in a new process.
    """
    faulthandler.enable()
    port = _Port()
    if loaded is None:
        use_folders(folders)
        loaded = load_all()
    port.listen()
    while (job := port.next_job()) is not None:
        code, line = _attempt(job, loaded.packages, port)
        port.job_is_over()
        _forget()
        port.send({"ended": {"code": code, "line": line}})
    os._exit(0)  # a thread is still reading


def load_all() -> Loaded:
    """Import what jobs need: the modules of runs, and all parts, with those of other packages."""
    before = {package: package_digest(package) for package in registered_packages()}
    with loading():
        _import_own()
        threads = _threads()
        _import_parts()
    packages = {package for package, digest in before.items() if current_digest(package) == digest}
    return Loaded(packages, _threads() == threads)


def _threads() -> int:
    """Return the threads of this process, those of libraries included."""
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0


class _Port:
    """The worker's two pipes. Text that the worker or a library prints goes to standard error."""

    def __init__(self) -> None:
        self._out = os.dup(1)
        os.dup2(2, 1)
        sys.stdout, sys.stderr = (cast(Any, Enduring(stream)) for stream in (sys.stdout, sys.stderr))
        self._jobs: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._busy = self._told = False

    def listen(self) -> None:
        """Begin to read requests."""
        threading.Thread(target=self._listen, daemon=True).start()

    def send(self, message: dict[str, Any]) -> None:
        content = (json.dumps(message) + "\n").encode()
        with suppress(BrokenPipeError), self._lock:
            while content:
                content = content[os.write(self._out, content) :]

    def next_job(self) -> dict[str, Any] | None:
        """Return the next job, or None after the last one."""
        job = self._jobs.get()
        self._busy = job is not None
        return job

    def job_is_over(self) -> None:
        self._busy = self._told = False

    def _listen(self) -> None:
        rest = b""
        while content := os.read(0, 1 << 16):
            *lines, rest = (rest + content).split(b"\n")
            for line in lines:
                request = json.loads(line)
                if "job" in request:
                    self._jobs.put(request["job"])
                else:
                    self._stop(request["stop"])
        self._jobs.put(None)
        if self._busy:  # no reader is left for the job's result
            self._stop(signal.SIGTERM)
            time.sleep(_PATIENCE)
            os._exit(1)

    def _stop(self, number: int) -> None:
        """Make the job save and stop; a second signal would interrupt the saving."""
        if not self._told:
            self._told = True
            os.kill(os.getpid(), number)


class _Relay(Silent):
    """A display that sends numbers and warnings to the sweep; the sweep itself shows headlines and results."""

    def __init__(self, port: _Port) -> None:
        self._port, self._shown_at = port, 0.0
        self._share, self._numbers = 0.0, dict[str, str]()

    def begin(self, title: str, share: float) -> None:
        self._share = share
        self._send()

    def numbers(self, share: float, **numbers: str) -> None:
        self._share = share
        self._numbers.update(numbers)
        if time.monotonic() - self._shown_at > _SHOWN_EVERY:
            self._send()

    def evaluated(self, where: str) -> None:
        self._send()

    def warn(self, line: str) -> None:
        self._port.send({"warning": line})

    def _send(self) -> None:
        self._shown_at = time.monotonic()
        self._port.send({"share": self._share, "numbers": self._numbers})


def _attempt(job: dict[str, Any], loaded: Collection[str], port: _Port) -> tuple[int, str]:
    """Run one job; return its exit code, and the error in one line.

    Args:
        loaded: packages whose code was not edited while it was imported.
    """
    try:
        for package, there in job["code"].items():
            here = package_digest(package)
            if there != here or package not in loaded:
                what = f"the sweep was composed with other code of {package} (digest {there[:12]}) than this worker has"
                mine = here[:12] if package in loaded else "edited while it was loaded"
                raise UserError(job["directory"], f"{what} ({mine})", "Start the sweep again")
        from gradinc.runs.execute import execute

        os.chdir(job["folder"])
        sys.argv = ["gradinc", *job["arguments"]]
        port.send({"begun": os.getpid()})
        config = validate(job["document"])
        return _executed(execute(config, _Relay(port)), config)
    except UserError as error:
        return 1, one_line(error)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT, ""
    except SystemExit as leaving:
        return (leaving.code if isinstance(leaving.code, int) else 1) or 1, f"left by sys.exit({leaving.code!r})"
    except BaseException as error:
        _record(Path(job["directory"]), error)
        return 1, printable(f"{job['directory']}: {type(error).__name__}: {error}{_place(error)}")


def _executed(code: int, config: Config) -> tuple[int, str]:
    """Return the exit code and a line: 0 counts only if the run's result says that it is finished."""
    if code == 0 and (RunDirectory(config).result() or {}).get("status") != "finished":
        return 1, "ended without a result"
    return code, ""


def _record(directory: Path, error: BaseException) -> None:
    """Store the traceback of a bug in the run's directory, if the run has one."""
    if (directory / "config.yaml").exists():
        with suppress(OSError, UserError):
            write_whole(directory / "error.log", "".join(traceback.format_exception(error)).encode())


def _place(error: BaseException) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""


def _forget() -> None:
    """Release the memory of the job."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _import_own() -> None:
    """Import the modules of runs."""
    for path in sorted(catalog.PACKAGE.rglob("*.py")):
        words = path.relative_to(catalog.PACKAGE).with_suffix("").parts
        if words[0] not in NOT_NEEDED and words[-1] != "__main__":
            with suppress(ImportError):  # an optional package is missing; a run that needs it reports this
                import_module(".".join(("gradinc", *words)).removesuffix(".__init__"))


def _import_parts() -> None:
    """Import all parts, also from other packages, and read their signatures."""
    for kind in catalog.KINDS:
        for part in catalog.parts(kind):
            if kind != "cluster":
                with suppress(Exception):  # another package's part: a run that chooses it reports the error
                    import_module(part.module)


if __name__ == "__main__":
    serve()
