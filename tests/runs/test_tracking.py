"""Trackers receive the curve of a run once, whatever is killed, and a run does not depend on them."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lives import SMALL, Nursery, differences, only_run, outcome

NAMES = ("tensorboard", "wandb", "mlflow")
TRACK = f"track=[{','.join(NAMES)}]"
COMMAND = (*SMALL, "log.steps=1", "stream=split", "stream.tasks=2", "metrics=[top5]")

needs_all = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in NAMES), reason=f"needs {', '.join(NAMES)}"
)

Curve = Counter[tuple[str, int, float]]
"""How often a tracker has a name at a step with a value."""


def logged(run: Path, before: float = np.inf) -> Curve:
    """The numbers of ``metrics.jsonl``, each under its name, up to an update."""
    found = {}
    for text in (run / "metrics.jsonl").read_text().splitlines():
        line = json.loads(text)
        step = line.pop("step")
        for key, value in line.items():
            if key in ("row", "task_row"):
                numbers = {f"{key}/task {int(task) + 1}": number for task, number in as_pairs(value)}
            elif isinstance(value, dict):
                numbers = {f"{key}/{name}": number for name, number in value.items()}
            else:
                place = key in ("task", "epoch", "samples", "rows", "passes")
                numbers = {f"place/{key}" if place else key: value}
            found.update({(name, step): float(number) for name, number in numbers.items() if number is not None})
    return Counter((name, step, value) for (name, step), value in found.items() if step < before)


def as_pairs(row: Any) -> Any:
    return row.items() if isinstance(row, dict) else enumerate(row)


def in_tensorboard(run: Path) -> Curve:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not (run / "tensorboard").exists():
        return Counter()
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return Counter((tag, event.step, event.value) for tag in events.Tags()["scalars"] for event in events.Scalars(tag))


def in_wandb(run: Path) -> Curve:
    from gradinc.trackers.wandb_file import history

    rows = [row for file in run.glob("wandb/offline-run-*/*.wandb") for row in history(file)]
    return Counter(
        (name, step, float(value)) for step, values in rows for name, value in values.items() if name[0] != "_"
    )


def in_mlflow(store: Path) -> Curve:
    with sqlite3.connect(store) as connection:
        return Counter(connection.execute("select key, step, value from metrics").fetchall())


def as_float32(curve: Curve) -> Curve:
    return Counter({(name, step, float(np.float32(value))): count for (name, step, value), count in curve.items()})


@pytest.fixture(scope="module")
def store() -> Iterator[Path]:
    """A file for MLflow's store, in memory if possible: MLflow makes it in hundreds of transactions."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    yield folder / "mlflow.db"
    shutil.rmtree(folder)


@needs_all
def test_a_killed_run_goes_on_in_the_same_curves(nursery: Nursery, folder: Path, store: Path) -> None:
    options = {"environment": {"WANDB_MODE": "offline", "MLFLOW_TRACKING_URI": f"sqlite:///{store}"}}

    def curves() -> Iterator[tuple[str, Curve]]:
        yield "mlflow", in_mlflow(store)  # the one that takes longest
        yield "wandb", in_wandb(run)
        yield "tensorboard", in_tensorboard(run)

    def wanted(curve: Curve) -> dict[str, Curve]:
        return {"tensorboard": as_float32(curve), "wandb": curve, "mlflow": curve}

    assert nursery.run(folder, *COMMAND, TRACK, crash="pruned:9", **options).code == -signal.SIGKILL
    run = only_run(folder)
    saved = max(int(path.name.partition("+")[0]) for path in (run / "ckpt").glob("[0-9]*"))
    final = logged(run, before=saved)
    assert len(final) > 20
    until = time.monotonic() + 120
    while time.monotonic() < until:
        with suppress(sqlite3.OperationalError):  # no table yet
            if all(curve == wanted(final)[name] for name, curve in curves()):
                break
        time.sleep(0.5)
    assert dict(curves()) == wanted(final)  # the training is dead, and what it had saved is complete

    end = nursery.run(folder, *COMMAND, TRACK, **options)
    assert (end.code, end.err) == (0, "")
    sent = nursery.run(folder, "outputs", "--track", ",".join(NAMES), command="export", **options)
    assert sent.code == 0
    assert [line for line in sent.err.splitlines() if "waiting for the process that still sends" not in line] == []
    result = json.loads((run / "result.json").read_text())
    everything = logged(run)
    for name, curve in curves():
        ends = {key: value for key, _, value in curve if key.startswith("result/")}
        assert ends["result/acc"] == pytest.approx(result["metrics"]["acc"])
        rest = Counter({point: count for point, count in curve.items() if not point[0].startswith("result/")})
        assert rest == wanted(everything)[name], name
    with sqlite3.connect(store) as connection:
        assert connection.execute("select name, status from runs").fetchall() == [("mine", "FINISHED")]
        params = dict(connection.execute("select key, value from params").fetchall())
    assert (params["strategy"], params["model.name"], params["data.batch_size"]) == ("sgd", "linear", "200")

    untracked = nursery.run(folder / "untracked", *COMMAND)
    assert untracked.code == 0
    plain = outcome(only_run(folder / "untracked"))
    assert [line for line in differences(run, plain) if "files" not in line] == []


SOURCE = """
import os, signal, time
from gradinc.records.tracker import Tracker
{first}

class {name}(Tracker):
    \"\"\"A tracker that does not work\"\"\"

    def open(self, run):
        {open}
        return -1

    def log(self, rows):
        raise RuntimeError("no room left")

    def close(self, status):
        pass
"""
TRACKERS = {
    "stuck": {"open": "print(os.getpid(), flush=True); time.sleep(1000)"},
    "slow": {"first": "print(os.getpid(), flush=True); time.sleep(1000)", "open": "pass"},  # its import
    "dead": {"open": "os.kill(os.getpid(), signal.SIGKILL)"},
    "broken": {"open": "pass"},
}


def number_in(log: Path) -> int:
    """The number that a tracker's process has written, or is about to write: nobody waits for it, but this test."""
    end = time.monotonic() + 60
    while not (words := log.read_text().split()):
        assert time.monotonic() < end, f"{log.name} is empty"
        time.sleep(0.05)
    return int(words[0])


def test_a_tracker_that_hangs_starts_dies_or_fails_changes_nothing(nursery: Nursery, folder: Path) -> None:
    room = folder / "mine" / "trackers"
    room.mkdir(parents=True)
    for name, lines in TRACKERS.items():
        (room / f"{name}.py").write_text(SOURCE.format(name=name, **{"first": "", **lines}))
    end = nursery.run(folder, *COMMAND, "--with", "mine", f"track=[{','.join(TRACKERS)}]")
    ended = time.time()
    run = only_run(folder)
    assert ended - (run / "result.json").stat().st_mtime < 5  # nobody waits for the trackers
    for name in ("stuck", "slow"):
        os.kill(number_in(run / f"{name}.log"), signal.SIGKILL)
    assert (end.code, end.err) == (0, "")
    said = end.out.replace("\n", " ")
    rest = "gradinc export outputs/mine --track"
    why = (
        "track=broken failed: RuntimeError: no room left (log: outputs/mine/broken.log). The run does not depend on it;"
    )
    assert f"{why} {rest} broken --with=mine sends the rest." in said
    assert 'raise RuntimeError("no room left")' in (run / "broken.log").read_text()
    assert "track=dead failed: ended with SIGKILL" in said
    left = "still being sent to stuck and slow (log: outputs/mine/stuck.log). If this process is stopped:"
    assert f"The last numbers are {left} {rest} stuck,slow --with=mine" in said
    assert nursery.run(folder / "untracked", *COMMAND).code == 0
    wanted = outcome(only_run(folder / "untracked"))
    assert [line for line in differences(run, wanted) if "files" not in line] == []
    again = nursery.run(folder, "outputs", "--with", "mine", "--track", "broken", command="export")
    assert (again.code, again.out) == (2, "")
    assert again.err == "--track broken: failed for mine: RuntimeError: no room left.\n"


def test_a_tracker_that_is_not_there_is_named_before_anything_is_made(
    gradinc: Any, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = {
        "track=tensorbord": "track=tensorbord: unknown. Did you mean tensorboard? "
        "Choose from: tensorboard, mlflow, wandb.\n",
        "track=[wandb,wandb]": "track=[wandb,wandb]: has a name twice. Write each name once.\n",
    }
    for words in ((), ("-m", "seed=0,1")):
        for word, line in lines.items():
            outcome = gradinc("train", *words, word)
            assert (outcome.code, outcome.out, outcome.err) == (2, "", line)
        with monkeypatch.context() as patch:
            patch.setattr("gradinc.runs.tracking.find_spec", lambda name: None)
            outcome = gradinc("train", *words, "track=mlflow")
        line = "track=mlflow: needs the package mlflow. pip install 'gradinc[mlflow]'.\n"
        assert (outcome.code, outcome.out, outcome.err) == (2, "", line)
    assert list(empty.iterdir()) == []
