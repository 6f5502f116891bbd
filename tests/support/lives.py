"""Lives of a run: starting, watching, killing and comparing them."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

import gradinc
from gradinc.records.schemas import read_json
from gradinc.records.seal import seal
from gradinc.runs import checkpoint

PACKAGE = Path(gradinc.__file__).parent
HERE = Path(__file__).parent
PATIENCE = 120.0
"""Seconds after which a life counts as hung."""

SMALL = (
    "model=linear",
    "data.batch_size=200",
    "budget.epochs=2",
    "progress=plain",
    "name=mine",
    "checkpoint.seconds=0",
)
"""The command of a small run with a checkpoint after each update."""


@dataclass(frozen=True)
class End:
    """How a life ended.

    Attributes:
        code: its exit code, or minus the signal that killed it.
        left: what was left of its crash point's count, if it got to its end with one.
    """

    code: int
    out: str
    err: str
    left: int | None = None


class Life:
    """One process of a run."""

    def __init__(self, nursery: Nursery, pid: int, out: Path, err: Path) -> None:
        self._nursery, self.pid, self._out, self._err = nursery, pid, out, err
        self._end: End | None = None

    def end(self, seconds: float = PATIENCE) -> End:
        """Wait until it is over."""
        if self._end is None:
            code = self._nursery.ask({"do": "wait", "pid": self.pid, "seconds": seconds})["code"]
            if code is None:
                self.kill()
                raise TimeoutError(f"still running after {seconds} s: {self._err.read_text()}")
            left = self._out.with_suffix(".left")
            self._end = End(
                code, self._out.read_text(), self._err.read_text(), int(left.read_text()) if left.exists() else None
            )
            for path in (self._out, self._err, left):
                path.unlink(missing_ok=True)
        return self._end

    def is_over(self) -> bool:
        """Whether it has come to an end, without waiting."""
        with suppress(TimeoutError):
            code = self._nursery.ask({"do": "wait", "pid": self.pid, "seconds": 0})["code"]
            if code is not None:
                self._end = End(code, self._out.read_text(), self._err.read_text())
        return self._end is not None

    def kill(self, number: int = signal.SIGKILL, *, group: bool = False) -> None:
        """Send a signal to the process, or to its whole group."""
        with suppress(ProcessLookupError):
            (os.killpg if group else os.kill)(self.pid, number)


class Nursery:
    """Starts lives by forking; see `forks`.

    Args:
        scratch: a directory for what lives print.
    """

    def __init__(self, scratch: Path) -> None:
        paths = [str(PACKAGE.parent), str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
        environment.pop("GRADINC_CRASH", None)
        words = [sys.executable, str(HERE / "forks.py")]
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._scratch = scratch
        self._numbers = itertools.count()
        self._ready = False

    def start(
        self,
        folder: Path,
        *arguments: str,
        command: str = "train",
        before: Sequence[Sequence[str]] = (),
        crash: str = "",
        plant: str = "",
        largest_file: int | None = None,
        memory: int | None = None,
        packages: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Life:
        """Start ``gradinc train`` in a folder, which is made if need be.

        Args:
            arguments: ``key=value`` words.
            command: another command, whose words they are.
            before: the words of runs to be made first in the same process.
            crash: ``GRADINC_CRASH``.
            plant: name of a function in `bugs` to call first.
            largest_file: bytes that a file may have, as ``ulimit -f`` sets it.
            memory: bytes that it may take more than it has when it begins, as ``ulimit -v`` sets it.
            packages: a folder of installed packages that it sees besides.
            environment: variables that it has besides.
        """
        folder.mkdir(parents=True, exist_ok=True)
        number = next(self._numbers)
        out, err = self._scratch / f"{number}.out", self._scratch / f"{number}.err"
        for path in (out, err):
            path.touch()
        request = {
            "do": "start",
            "folder": str(folder),
            "out": str(out),
            "err": str(err),
            "arguments": [command, *arguments],
            "before": [["train", *words] for words in before],
            "crash": crash,
            "plant": plant,
            "largest_file": largest_file,
            "memory": memory,
            "packages": str(packages or ""),
            "environment": dict(environment or {}),
        }
        return Life(self, self.ask(request)["pid"], out, err)

    def run(self, folder: Path, *arguments: str, **options: Any) -> End:
        """Start a life and wait for its end."""
        return self.start(folder, *arguments, **options).end()

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if not self._ready:
            self._ready = json.loads(self._process.stdout.readline())["ready"]
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def only_run(folder: Path) -> Path:
    """The one run directory under ``outputs``; a second one would be a run that was not found again."""
    (path,) = (folder / "outputs").iterdir()
    return path


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every file's time of change and content; directories only need to be there. Locks are opened, not written."""
    return {
        path.relative_to(folder).as_posix(): (path.stat().st_mtime_ns, path.read_bytes())
        if path.is_file()
        else (0, b"")
        for path in folder.rglob("*")
        if path.name not in (".lock", "owner.json")
    }


def reseal(run: Path) -> None:
    """Take a run's files as they are now for those that it ended with."""
    result = read_json(run / "result.json") or {}
    (run / "result.json").write_text(json.dumps(seal(result, run, result["seal"]["files"])))


def crash_points() -> list[str]:
    """The names of all crash points in the program."""
    names = set()
    for path in PACKAGE.rglob("*.py"):
        names |= set(re.findall(r"crash_point\(\"([^\"]+)\"\)", path.read_text(encoding="utf-8")))
    return sorted(names)


# ---- what a run has come to ----

VOLATILE = ("seconds", "peak_memory", "seal")
"""What in ``result.json`` is told of a run but does not belong to its numbers."""


MAY_STAY = re.compile(r"ckpt/[0-9+]+(\.damaged)?|owner\.json")
"""Which older checkpoint is left depends on the last start; a damaged one and a killed owner's name may be left."""


def outcome(run: Path) -> dict[str, Any]:
    """All that has to be the same, whatever happened on the way there."""
    result = read_json(run / "result.json") or {}
    folder = run / "ckpt"
    newest = next(iter(checkpoint.marks(folder)), None)
    state: dict[str, Any] = {} if newest is None else checkpoint.read(folder / str(newest), None)
    state.pop("seconds", None)
    state.get("position", {}).pop("began", None)
    best = folder / checkpoint.BEST
    return {
        "result": {key: value for key, value in result.items() if key not in VOLATILE},
        "metrics": (run / "metrics.jsonl").read_bytes(),
        "newest": str(newest),
        "state": digest(state),
        "best": hashlib.sha256(best.read_bytes()).hexdigest() if best.exists() else None,
        "files": sorted(path.relative_to(run).as_posix() for path in run.rglob("*")),
    }


def digest(value: Any) -> str:
    """SHA-256 over nested dicts, lists, numbers and the bits of tensors."""
    total = hashlib.sha256()
    for part in _flat(value):
        total.update(part)
    return total.hexdigest()


def _flat(value: Any) -> Iterator[bytes]:
    if isinstance(value, torch.Tensor):
        yield f"{value.dtype} {tuple(value.shape)} ".encode()
        yield value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, dict):
        for key in sorted(value, key=str):
            yield f"{key}: ".encode()
            yield from _flat(value[key])
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _flat(item)
    else:
        yield repr(value).encode()
    yield b"\n"


def differences(run: Path, uninterrupted: dict[str, Any]) -> list[str]:
    """What of a run differs from the outcome of one that nothing happened to, in words."""
    mine = outcome(run)
    found = []
    for name, wanted in uninterrupted.items():
        if name == "files":
            extra = [file for file in mine[name] if file not in wanted and not MAY_STAY.fullmatch(file)]
            if extra:
                found.append(f"extra files {extra}")
        elif name == "result":
            found += [
                f"result.json: {key} {mine[name].get(key)!r}, not {wanted[key]!r}"
                for key in wanted
                if mine[name].get(key) != wanted[key]
            ]
        elif mine[name] != wanted:
            found.append(f"{name}: {_short(mine[name])}, not {_short(wanted)}")
    return found


def _short(value: Any) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else str(value)[:16]


def broken_invariants(folder: Path, metrics: bytes) -> list[str]:
    """What is wrong in a folder right after its run was killed.

    Args:
        metrics: the ``metrics.jsonl`` of an uninterrupted run.
    """
    found = []
    if strangers := [path.name for path in folder.iterdir() if path.name != "outputs"]:
        found.append(f"outside the output directory: {strangers}")
    for run in (folder / "outputs").glob("*"):
        found += broken_run(run, metrics)
    return found


def broken_run(run: Path, metrics: bytes) -> list[str]:
    """What is wrong in a run's directory right after it was killed, where `metrics` is its undisturbed log."""
    found = []
    for mark in checkpoint.marks(run / "ckpt"):
        try:
            state = checkpoint.read(run / "ckpt" / str(mark), None)
        except checkpoint.Damaged as damage:
            found.append(f"checkpoint {mark} is damaged: {damage}")
            continue
        committed = (run / "metrics.jsonl").read_bytes()[: state["log_offset"]]
        if committed != metrics[: state["log_offset"]]:
            found.append(f"the log up to checkpoint {mark} is not what was committed")
    return found


# ---- killing at random ----


@dataclass(frozen=True)
class Kill:
    """A random kill: so many more lines of ``metrics.jsonl`` after the start, then so many seconds."""

    lines: int
    delay: float
    number: int
    group: bool

    @classmethod
    def draw(cls, random: random.Random, most_lines: int, *, gentle: float = 0.0) -> Kill:
        """Draw one; with probability `gentle` it is a signal that a run may answer."""
        numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
        number = random.choice(numbers) if random.random() < gentle else signal.SIGKILL
        return cls(random.randint(0, most_lines), random.uniform(0, 0.02), number, random.random() < 0.5)


def kill_at_progress(life: Life, folder: Path, kill: Kill) -> bool:
    """Kill a life when it has written so many lines; False if it was over before."""
    wanted = None
    while True:
        size = _lines(folder)
        wanted = size + kill.lines if wanted is None else wanted
        if size >= wanted:
            break
        # A restart cuts the log back, so the number of lines may first fall.
        wanted = min(wanted, size + kill.lines)
        if life.is_over():
            return False
        time.sleep(0.0005)
    time.sleep(kill.delay)
    if life.is_over():
        return False
    life.kill(kill.number, group=kill.group)
    return True


def _lines(folder: Path) -> int:
    total = 0
    for path in folder.glob("outputs/*/metrics.jsonl"):
        with suppress(FileNotFoundError):
            total += path.read_bytes().count(b"\n")
    return total
