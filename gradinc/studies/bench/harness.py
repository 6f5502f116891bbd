"""Functions shared by all benches: generated rows, a timed run, turns of two sides, and the table of their ratios."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from gradinc.base.signals import Interruption
from gradinc.config.compose import load_config
from gradinc.config.schema import Config
from gradinc.data.dataset import Dataset
from gradinc.data.rows import TensorRows
from gradinc.data.stream import open_stream
from gradinc.records.directory import RunDirectory
from gradinc.runs.build import Shape, build_criterion, build_learner, build_model
from gradinc.runs.display import Display, Silent
from gradinc.runs.prepare import Prepared
from gradinc.runs.run import open_run

MLP = ("model=mlp", "model.width=256", "model.depth=2")
PLAIN_SGD = ("optimizer=sgd", "optimizer.momentum=0", "optimizer.lr=0.01")

IMAGE = (1, 28, 28)
"""Shape of a row: as in Fashion-MNIST; the values do not affect the time."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class BenchResult:
    """One line of a bench's table.

    Attributes:
        kind: ``train`` or ``evaluate`` (samples per second), ``memory`` (peak bytes), ``speed`` (of a stream or a
            sweep), ``time`` (of a command), or the subject of a cost: ``cost``, ``rule``, ``method`` or ``option``.
        ratio: the first side's figure over the second side's.
        spread: half the range of the paired ratios.
        bound: whether the goal is the least or the largest ratio.
        goal: None for a bench without a goal.
    """

    name: str
    kind: str
    ratio: float
    spread: float
    bound: Literal["≥", "≤"]
    goal: float | None

    @property
    def reached(self) -> bool | None:
        """Return whether the ratio meets the goal; None without a goal."""
        if self.goal is None:
            return None
        return self.ratio >= self.goal if self.bound == "≥" else self.ratio <= self.goal


class Skipped(Exception):
    """A bench that cannot run on this machine. Its text is the reason."""


Bench = Callable[[int], BenchResult]
"""A function that measures one line of the table; its argument is the number of rounds."""


def in_turns(first: Callable[[], float], second: Callable[[], float], rounds: int) -> list[tuple[float, float]]:
    """Return the figures of both sides, measured in turns; each side goes first in every second round."""
    first(), second()  # the first turn of each warms caches and allocators
    pairs = []
    for number in range(rounds):
        if number % 2:
            mine, other = first(), second()
        else:
            other, mine = second(), first()
        pairs.append((mine, other))
    return pairs


def summarized(
    name: str,
    kind: str,
    pairs: Sequence[tuple[float, float]],
    bound: Literal["≥", "≤"],
    goal: float | None,
    ratio: float | None = None,
) -> BenchResult:
    """Return a line of the table from the figures of both sides.

    Args:
        ratio: ratio of the two sides; by default the median of the ratios of the pairs.
    """
    ratios = [mine / other for mine, other in pairs]
    middle = statistics.median(ratios) if ratio is None else ratio
    return BenchResult(name, kind, round(middle, 4), round((max(ratios) - min(ratios)) / 2, 4), bound, goal)


def loop_speed(
    optimizer: torch.optim.Optimizer,
    loss_of: Callable[[Tensor], Tensor],
    rows: int,
    size: int,
    window: int,
    updates: int,
) -> float:
    """Return the samples per second of a typical hand-written loop: shuffle, index, forward, backward, step.

    Args:
        loss_of: the mean loss of the rows with these numbers, int64, shape (n,).
        rows: rows of the data.
        size: rows of a micro-batch.
        window: micro-batches of an update.
    """
    samples = taken = 0
    begun = time.perf_counter()
    while taken < window * updates:
        for indices in torch.randperm(rows).split(size):
            loss = loss_of(indices)
            (loss / window if window > 1 else loss).backward()
            taken, samples = taken + 1, samples + len(indices)
            if taken % window == 0:
                optimizer.step()
                optimizer.zero_grad()
                if taken == window * updates:
                    break
    return samples / (time.perf_counter() - begun)


def print_results(noun: str, results: Sequence[BenchResult]) -> None:
    """Print a bench's table; `noun` heads its first column."""
    table = Table(noun, "kind", "ratio", "± half range", "goal", "", box=None, padding=(0, 2, 0, 0))
    marks = {None: "", True: "[green]reached[/]", False: "[yellow]missed[/]"}
    for each in results:
        goal = "" if each.goal is None else f"{each.bound} {each.goal:.2f}"
        table.add_row(each.name, each.kind, f"{each.ratio:.3f}", f"{each.spread:.3f}", goal, marks[each.reached])
    Console().print(table)


def random_dataset(rows: int, test: int = 0) -> Dataset:
    """Return random images of ten classes, always the same."""
    draws = torch.Generator().manual_seed(0)
    train, none, held_out = (
        TensorRows(torch.randn(count, *IMAGE, generator=draws), torch.randint(0, 10, (count,), generator=draws))
        for count in (rows, 0, test)
    )
    classes = tuple(str(label) for label in range(10))
    return Dataset("bench", classes, IMAGE, 10, train, none, held_out, (0.0,), (1.0,), None, None, "", "")


def bench_model(config: Config, device: torch.device = CPU) -> nn.Module:
    """Return the model of a config, for the rows of `random_dataset`."""
    return build_model(config, Shape(IMAGE, 10), device)


def timed_run(
    overrides: Sequence[str], dataset: Dataset, display: Display | None = None, device: torch.device = CPU
) -> tuple[float, float]:
    """Train a whole run in a temporary directory.

    Args:
        dataset: its data, on the device.
        display: its progress display; by default nothing is shown.

    Returns:
        Seconds from its first batch to its last measurement, and the number of samples that it trained on.
    """
    with tempfile.TemporaryDirectory() as folder:
        config = load_config([*overrides, f"output={folder}"])
        directory = RunDirectory(config)
        directory.path.mkdir()
        stream = open_stream(config, dataset)
        criterion = build_criterion(dataset, stream.outputs)
        model = build_model(config, Shape.of(dataset, stream), device)
        learner = build_learner(config, model, criterion, stream.longest, stream)
        parts = Prepared(config, None, device, dataset, stream, learner)
        run = open_run(parts, directory, display or Silent(), Interruption())
        begun = time.perf_counter()
        run.train()
        seconds = time.perf_counter() - begun
        run.close()
        return seconds, float(learner.work.samples)
