"""A process that has imported everything and then forks: a run that starts in it has no second to wait for torch.

It reads one JSON request a line from its standard input and answers with one line each. Everything
after the fork is the real program: its command line, its files, its signals and its exit code.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any


def serve() -> None:
    """Answer requests until there are no more."""
    import_everything()
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        answer = start(request) if request["do"] == "start" else wait(request["pid"], request["seconds"])
        print(json.dumps(answer), flush=True)


def import_everything() -> None:
    """Import what a run imports, but compute nothing: a process that has threads should not fork."""
    import torch

    import gradinc

    torch.set_num_threads(1)
    for path in sorted(Path(gradinc.__file__).parent.rglob("*.py")):
        name = ".".join(("gradinc", *path.relative_to(Path(gradinc.__file__).parent).with_suffix("").parts))
        if not name.endswith("__"):
            importlib.import_module(name)
    for name in ("sklearn.datasets", "torch.utils.data", "torch._inductor"):
        importlib.import_module(name)
    from gradinc.config.compose import load_config

    load_config([])  # Hydra looks for its plugins once in a process


def start(request: dict[str, Any]) -> dict[str, int]:
    """Fork a life that runs a command line."""
    pid = os.fork()
    if pid:
        return {"pid": pid}
    code = 1
    try:
        code = live(request)
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def live(request: dict[str, Any]) -> int:
    """The child: one process of the program."""
    os.setpgid(0, 0)
    os.chdir(request["folder"])
    for descriptor, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(request[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), descriptor)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(request["environment"])
    if request["crash"]:
        import gradinc.base.crash

        os.environ["GRADINC_CRASH"] = request["crash"]
        importlib.reload(gradinc.base.crash)
    if request["largest_file"] is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (request["largest_file"],) * 2)
    if request["memory"] is not None:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + request["memory"],) * 2)
    if request["packages"]:
        see_packages(request["packages"])
    if request["plant"]:
        import bugs

        getattr(bugs, request["plant"])()
    from gradinc.cli.main import main

    code = 0
    for arguments in (*request["before"], request["arguments"]):
        sys.argv = ["gradinc", *arguments]
        code = main()
    if request["crash"]:
        sys.stdout.flush()
        left = importlib.import_module("gradinc.base.crash").visits_left
        Path(request["out"]).with_suffix(".left").write_text(str(left))
    return code


def see_packages(folder: str) -> None:
    """Put a folder of installed packages on the path, of this process and of those that it starts."""
    sys.path.insert(0, folder)
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, os.environ["PYTHONPATH"]])


def wait(pid: int, seconds: float) -> dict[str, int | None]:
    """Wait for a life to end: its exit code, or minus the signal that ended it, or None if it still lives."""
    deadline = time.monotonic() + seconds
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return {"code": os.waitstatus_to_exitcode(status)}
        if time.monotonic() > deadline:
            return {"code": None}
        time.sleep(0.001)


if __name__ == "__main__":
    serve()
