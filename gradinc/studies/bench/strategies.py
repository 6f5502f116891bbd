"""`gradinc bench strategies`: what each rule, each method and the diagnostics cost, over plain accumulation.

An MLP of 784-256-256-10 on random rows, micro-batches of 128, windows of 8, SGD, one thread. A strategy and plain
accumulation take turns of some windows each, and the first of a pair is now the one and now the other. What is
measured is the processor time of this process, which other processes disturb less than the clock on the wall.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch
from rich.console import Console
from rich.progress import track
from rich.table import Table

from gradinc.base.errors import UserError
from gradinc.config import catalog
from gradinc.config.compose import load_config
from gradinc.core.criterion import CrossEntropy
from gradinc.core.learner import Learner
from gradinc.data.batch import Batch
from gradinc.data.stream import Task
from gradinc.runs.build import Shape, build_learner, build_model
from gradinc.runs.device import pin
from gradinc.studies.bench.handwritten import MLP, PLAIN

METHODS = ("grokfast", "centralize", "noise", "clip", "agc", "sam", "asam", "lookahead", "cautious")
"""Methods for one stream of data; what those for a sequence of tasks cost goes by their memory and their past."""

GOALS = {
    "sam": 2.1,
    "median": 1.6,
    "diagnostics": 1.03,
    **dict.fromkeys(("grokfast", "centralize", "noise", "clip", "agc"), 1.1),
}
"""What the cost should be at most."""

ROWS, SIZE, WINDOWS = 128, 8, 8
"""Rows of a micro-batch, micro-batches of a window, windows of a turn."""


@dataclass(frozen=True)
class Cost:
    """One line of the result.

    Attributes:
        kind: ``rule``, ``method`` or ``option``.
        cost: processor time over that of plain accumulation, a ratio of medians.
        spread: half the range of the paired ratios.
        goal: what the cost should be at most, where there is a goal.
    """

    name: str
    kind: str
    cost: float
    spread: float
    goal: float | None


def main(arguments: list[str]) -> int:
    """Measure and print the costs as a table or, with ``--json``, as one JSON document."""
    parser = argparse.ArgumentParser(
        prog="gradinc bench strategies",
        description="Processor time of every rule and method, and of diagnostics, over plain accumulation.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    parser.add_argument("--rounds", type=int, default=9, help="pairs of turns for each strategy (default 9)")
    parser.add_argument("--only", default="", help="only the strategies whose name contains this text")
    options = parser.parse_args(arguments)
    if options.rounds < 1:
        raise UserError(f"--rounds {options.rounds}", "need a whole number ≥ 1")
    kinds = {**dict.fromkeys(rules(), "rule"), **dict.fromkeys(METHODS, "method"), "diagnostics": "option"}
    chosen = [name for name in kinds if options.only in name]
    if not chosen:
        raise UserError(f"--only {options.only}", "no such strategy", f"Choose from: {', '.join(kinds)}")
    console = Console(stderr=True)
    names = track(chosen, description="measuring", console=console, transient=True, disable=not console.is_terminal)
    costs = [cost(name, kinds[name], options.rounds) for name in names]
    if options.json:
        print(json.dumps([asdict(each) for each in costs], indent=2))
        return 0
    table = Table("strategy", "kind", "cost", "± half range", "goal", "", box=None, padding=(0, 2, 0, 0))
    for each in costs:
        reached = "" if each.goal is None else "[green]reached[/]" if each.cost <= each.goal else "[yellow]missed[/]"
        goal = "" if each.goal is None else f"≤ {each.goal:.2f}"
        table.add_row(each.name, each.kind, f"{each.cost:.3f}", f"{each.spread:.3f}", goal, reached)
    Console().print(table)
    return 0


def rules() -> list[str]:
    """Every rule but the one that all are compared with."""
    return [part.name for part in catalog.parts("rule") if part.name != "mean"]


def command(name: str) -> str:
    """The argument that chooses a rule, a method or the option."""
    if name == "diagnostics":
        return "diagnostics=true"
    return f"strategy.window.rule={name}" if name == "sum" else f"strategy={name}"


def cost(name: str, kind: str, rounds: int) -> Cost:
    """Measure one strategy in turns with plain accumulation."""
    pin(1, torch.device("cpu"))
    ours, plain = _Trainer(command(name)), _Trainer()
    ours.turn(), plain.turn()  # the first turn of each warms caches and allocators
    times: list[tuple[float, float]] = []
    for number in range(rounds):
        if number % 2:
            mine, other = ours.turn(), plain.turn()
        else:
            other, mine = plain.turn(), ours.turn()
        times.append((mine, other))
    ratios = [mine / other for mine, other in times]
    ratio = statistics.median(mine for mine, _ in times) / statistics.median(other for _, other in times)
    return Cost(name, kind, round(ratio, 4), round((max(ratios) - min(ratios)) / 2, 4), GOALS.get(name))


class _Trainer:
    """A learner that goes on training from turn to turn."""

    def __init__(self, *overrides: str) -> None:
        keys = (f"data.batch_size={ROWS}", f"strategy.window.size={SIZE}", "optimizer.lr=0.0001", "device=cpu")
        config = load_config([*MLP, *PLAIN, *overrides, *keys])
        model = build_model(config, Shape((1, 28, 28), 10), torch.device("cpu"))
        self._learner: Learner = build_learner(config, model, CrossEntropy(), ROWS * SIZE * WINDOWS)
        random = torch.Generator().manual_seed(0)
        self._x = torch.randn(ROWS * SIZE, 1, 28, 28, generator=random)
        self._y = torch.randint(0, 10, (ROWS * SIZE,), generator=random)
        nothing: Task = None  # type: ignore[assignment]  # these methods ask nothing of their task
        for method in self._learner.methods:
            method.begin(nothing, self._learner)

    def turn(self) -> float:
        """Seconds of processor time for a turn of windows."""
        learner = self._learner
        begun = time.process_time()
        for _ in range(WINDOWS):
            learner.open(float(ROWS * SIZE), SIZE)
            for batch in self._batches():
                learner.take(batch)
            learner.update()
        return time.process_time() - begun

    def _batches(self) -> Iterator[Batch]:
        for x, y in zip(self._x.split(ROWS), self._y.split(ROWS), strict=True):
            yield Batch(x, y, 0, float(ROWS))
