"""P9, P13: a run and a sweep go on whatever becomes of what they print, and the exit code is that of the training."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from lives import HERE, PACKAGE, Nursery, differences, only_run, outcome

from gradinc.records.schemas import read_result

RUN = ("model=linear", "data.batch_size=200", "budget.epochs=2", "progress=plain", "name=mine", "checkpoint.seconds=0")
LONG = (*RUN[:2], "budget.epochs=100000", "progress=plain", "name=mine", "log.steps=1")


@pytest.fixture(scope="module")
def wanted(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("whole")
    assert nursery.run(folder, *RUN).code == 0
    return outcome(only_run(folder))


def gradinc(folder: Path, *words: str, **streams: Any) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), str(HERE)])}
    line = [sys.executable, "-m", "gradinc", *words]
    return subprocess.Popen(line, cwd=folder, env=environment, text=True, **streams)


# ---- what both streams can go to ----


@contextmanager
def full() -> Iterator[Any]:
    """A disk without room, such as a quota that a log has used up."""
    with open("/dev/full", "w") as file:
        yield file


@contextmanager
def closed_pipe() -> Iterator[Any]:
    """Somebody who has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


@contextmanager
def unread_pipe() -> Iterator[Any]:
    """Somebody who reads nothing, at a pipe that is full and does not block."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(1 << 16))
    yield writing
    os.close(reading)
    os.close(writing)


@contextmanager
def closed_terminal() -> Iterator[Any]:
    """A terminal that was hung up, which a bar is drawn on."""
    master, slave = pty.openpty()
    os.close(master)
    yield slave
    os.close(slave)


GONE = [full, closed_pipe, unread_pipe, closed_terminal]


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: gone.__name__)
def test_a_run_goes_on_with_both_streams_gone(tmp_path: Path, wanted: dict[str, Any], gone: Callable[[], Any]) -> None:
    with gone() as stream:
        assert gradinc(tmp_path, "train", *RUN, stdout=stream, stderr=stream).wait() == 0
    assert differences(only_run(tmp_path), wanted) == []


@pytest.mark.parametrize("gone", [full, closed_terminal], ids=lambda gone: gone.__name__)
def test_a_sweep_goes_on_with_both_streams_gone(tmp_path: Path, gone: Callable[[], Any]) -> None:
    """All jobs come to their ends, and the one that fails is told by the exit code."""
    words = ("model=linear", "data.batch_size=200", "budget.epochs=1", "optimizer.lr=0.1,1e40,0.05")
    with gone() as stream:
        assert gradinc(tmp_path, "train", "-m", *words, stdout=stream, stderr=stream).wait() == 1
    results = [read_result(path) or {} for path in (tmp_path / "outputs").glob("*/result.json")]
    assert sorted(result["status"] for result in results) == ["diverged", "finished", "finished"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_told_by_the_exit_code(tmp_path: Path, number: int) -> None:
    with full() as stream:
        process = gradinc(tmp_path, "train", *LONG, stdout=stream, stderr=stream)
        until = time.monotonic() + 60
        while not (tmp_path / "outputs/mine/ckpt").exists() and time.monotonic() < until:
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(60) == 128 + number
    assert list((tmp_path / "outputs/mine/ckpt").glob("[0-9]*"))
    assert (read_result(tmp_path / "outputs/mine/result.json") or {})["status"] == "interrupted"


def test_bad_input_is_told_by_the_exit_code(tmp_path: Path) -> None:
    with full() as stream:
        assert gradinc(tmp_path, "train", "optm.lr=1", stdout=stream, stderr=stream).wait() == 2
        assert gradinc(tmp_path, "list", "strategies", stdout=stream, stderr=stream).wait() == 1, "nobody has the list"
    assert list(tmp_path.iterdir()) == []


def test_whoever_reads_the_first_line_only_ends_nothing(tmp_path: Path, wanted: dict[str, Any]) -> None:
    line = f"{sys.executable} -m gradinc train {' '.join(RUN)} 2>&1 | head -1; exit ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(["bash", "-c", line], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stdout.count("\n"), done.stderr) == (0, 1, "")
    assert differences(only_run(tmp_path), wanted) == []


SPEAKS = """
import logging, sys, traceback, warnings
from gradinc.base.streams import Enduring, going_on
sys.stderr = Enduring(sys.stderr)
warnings.warn("first")
logging.warning("second")
print("third", file=sys.stderr, end="")
sys.stderr.writelines(["fourth", "fifth"])
try:
    raise ValueError("sixth")
except ValueError:
    traceback.print_exc()
with going_on():
    print("x" * 100_000)
    print("y", end="")
assert sys.stdout.fileno() == 1
raise SystemExit(7)
"""


@pytest.mark.parametrize("gone", GONE, ids=lambda gone: gone.__name__)
def test_whatever_speaks_is_not_heard_and_python_ends_as_it_was_told(gone: Callable[[], Any]) -> None:
    """Warnings, logs, tracebacks and what waits in a buffer: Python's own flush at exit would make it 120."""
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    with gone() as stream:
        words = [sys.executable, "-W", "always", "-c", SPEAKS]
        assert subprocess.run(words, stdout=stream, stderr=stream, env=environment).returncode == 7
