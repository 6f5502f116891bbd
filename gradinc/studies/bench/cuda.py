"""`gradinc bench cuda`: checks that need a machine with a GPU.

Every strategy gives the same weights as on the CPU, and waits for the GPU only where `WAITS` allows it; a killed run
resumes to the same bits; an automatic micro-batch and two GPUs make the same updates. Speed is compared with
hand-written loops.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gradinc.base.errors import UserError
from gradinc.config import groups
from gradinc.config.catalog import PACKAGE
from gradinc.config.compose import load_config
from gradinc.config.schema import Config
from gradinc.data.dataset import load_dataset
from gradinc.runs.build import Shape, build_criterion, build_model
from gradinc.runs.device import pin, storage_dtype
from gradinc.runs.fit import fitted, largest
from gradinc.runs.saved_weights import last_weights
from gradinc.studies.bench.cuda_speed import TRAININGS, TimedTraining, speeds
from gradinc.studies.bench.harness import CPU, Skipped
from gradinc.studies.bench.waits import WAITS, waits
from gradinc.studies.bench.windows import SMALL, TASKS, learner_of, strategy_words, train_windows, trained
from gradinc.studies.drill import Drill

FARTHEST = 1e-9
"""Largest relative distance between the weights on two devices, in float64 after `WINDOWS` windows per task."""

_KILLS = 3
_DRILLED = ("data=digits", "model=cnn", "model.dropout=0.1", "strategy=[accumulate,er]", "budget.epochs=40", *TASKS)
_SHARED = ("data=digits", "model=mlp", "dtype=float64", "data.batch_size=8", "budget.epochs=2", "progress=plain")
_FITTED = ("data=digits", "model=mlp", "dtype=float64", "data.batch_size=16", "strategy.window.size=8")


@dataclass(frozen=True)
class Checked:
    """One line of the table.

    Attributes:
        passed: None for a line that only measures.
        detail: the numbers, or the reason.
    """

    name: str
    passed: bool | None
    detail: str


Check = Callable[[int], Checked]
"""A function that returns one line of the table; its argument is the number of rounds for measuring speeds."""


def gpu() -> torch.device:
    """Return the GPU.

    Raises:
        UserError: there is none.
    """
    if not torch.cuda.is_available():
        raise UserError("gradinc bench cuda", "needs a GPU, and this torch has none", "Use a machine with one")
    return torch.device("cuda", 0)


def checks(device: torch.device) -> dict[str, Check]:
    """Return all checks by name."""
    pin(1, device)
    strategies = groups.names("strategy")
    found: dict[str, Check] = {}
    for name in strategies:
        found[f"equal: {name}"] = partial(_equal, name, device)
    for name in strategies:
        found[f"no wait: {name}"] = partial(_no_wait, name, device)
    found["resume after a kill"] = lambda rounds: resume(device)
    found["micro_batch=auto"] = lambda rounds: found_micro_batch(device)
    found["two processes"] = lambda rounds: two_processes(device)
    for line in TRAININGS:
        found[f"speed: {line.name}"] = partial(_speed, line, device)
    return {name: partial(attempted, name, check) for name, check in found.items()}


def attempted(name: str, check: Check, rounds: int) -> Checked:
    """Make a check. An error counts as a failure of this check, so that the next checks still run."""
    try:
        return check(rounds)
    except (RuntimeError, UserError) as error:
        return Checked(name, False, (str(error).splitlines() or [type(error).__name__])[0])


# ---- the same numbers ----


def equality(name: str, config: Config, first: torch.device, second: torch.device) -> Checked:
    """Compare the weights that two devices train."""
    return _compared(name, trained(config, first), trained(config, second))


def _compared(name: str, one: Tensor, other: Tensor) -> Checked:
    distance = float((one - other).norm() / one.norm())
    return Checked(name, distance <= FARTHEST, f"relative distance {distance:.1e}, at most {FARTHEST:.0e}")


def _equal(strategy: str, device: torch.device, rounds: int) -> Checked:
    return equality(f"equal: {strategy}", load_config([*SMALL, *strategy_words(strategy)]), CPU, device)


# ---- no waiting ----


@contextmanager
def _refused() -> Iterator[None]:
    """Make PyTorch raise an error inside instead of letting the CPU wait for the GPU."""
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def judge_waits(name: str, allowed: set[str], run: Callable[[], None]) -> Checked:
    """Run a training that raises an error if it waits for the GPU, and compare with the allowed waits.

    Args:
        allowed: entries of `WAITS`.
    """
    try:
        run()
    except RuntimeError as error:
        if "synchroniz" not in str(error):
            raise
        reasons = "; ".join(WAITS[each] for each in sorted(allowed))
        return Checked(name, bool(allowed), f"waits: {reasons or f'no reason is listed: {error}'}")
    listed = ", ".join(sorted(allowed))
    return Checked(name, not allowed, f"does not wait, but is listed: {listed}" if allowed else "never waits")


def _no_wait(strategy: str, device: torch.device, rounds: int) -> Checked:
    config = load_config([*SMALL, *strategy_words(strategy)])
    learner, stream = learner_of(config, device)
    run = partial(train_windows, learner, stream, config, device, _refused)
    return judge_waits(f"no wait: {strategy}", waits(config, stream), run)


# ---- whole runs ----


def resume(device: torch.device) -> Checked:
    """Kill a run several times, and compare it with an undisturbed one."""
    with tempfile.TemporaryDirectory() as scratch:
        words = (*_DRILLED, f"device={device}")
        drilled = Drill(words, Path(scratch), lambda line: None).run(_KILLS)
    starts = ", ".join(map(str, drilled.starts))
    detail = "; ".join(drilled.differences) or f"the same bits after {drilled.kills} kills, from steps {starts}"
    return Checked("resume after a kill", not drilled.differences, detail)


def found_micro_batch(device: torch.device) -> Checked:
    """Compare windows of the automatic micro-batch with windows of the given micro-batch."""
    given = load_config([*_FITTED])
    dataset = load_dataset(given.data, device, storage_dtype(given.dtype))
    model = build_model(given, Shape(dataset.shape, dataset.outputs), device)
    rows = largest(given, model, build_criterion(dataset), dataset.train)
    one, other = (trained(config, device, ragged=False) for config in (given, fitted(given, rows)))
    found = _compared("micro_batch=auto", one, other)
    return replace(found, detail=f"{rows} rows for {given.data.batch_size}; {found.detail}")


def two_processes(device: torch.device) -> Checked:
    """Compare a run of two processes, each with its own GPU, with a run of one process and windows twice as long.

    Raises:
        Skipped: there is only one GPU.
    """
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        raise Skipped("there is one GPU")
    with tempfile.TemporaryDirectory() as folder:
        _gradinc(folder, [], *_SHARED, f"device={device.type}", "strategy.window.size=4", "name=one")
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
        _gradinc(folder, torchrun, *_SHARED, f"device={device.type}", "strategy.window.size=2", "name=two")
        one, two = (_weights(Path(folder) / "outputs" / each) for each in ("one", "two"))
    return _compared("two processes", one, two)


def _gradinc(folder: str, starter: Sequence[str], *words: str) -> None:
    command = [sys.executable, "-m", *starter, "gradinc", "train", *words]
    environment = {**os.environ, "PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was printed"])[-1]
        raise UserError("gradinc train", f"failed in the check of two processes: {last}", "Try it by itself")


def _weights(run: Path) -> Tensor:
    return torch.cat([each.flatten() for each in last_weights(str(run), CPU).values()])


def _speed(line: TimedTraining, device: torch.device, rounds: int) -> Checked:
    return Checked(f"speed: {line.name}", None, speeds(line, device, rounds))


def print_checks(checked: Sequence[Checked]) -> None:
    """Print the table."""
    table = Table("check", "", "result", box=None, padding=(0, 2, 0, 0))
    marks = {None: "", True: "[green]passed[/]", False: "[red]failed[/]"}
    for each in checked:
        table.add_row(each.name, marks[each.passed], each.detail)
    Console().print(table)
