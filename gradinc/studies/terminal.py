"""The display of one run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn
from rich.table import Table
from rich.text import Text

from gradinc.base.text import bytes_text, duration_text, percent_text, printable
from gradinc.records.matrix import MatrixRow
from gradinc.records.recorded import SCORES
from gradinc.records.summary import MEASURES, chosen_text, metric_shown
from gradinc.runs.display import LINE_EVERY
from gradinc.studies.heatmap import heat_map, number_map

FIRST_LINE = 2.0
"""Seconds from the start of training to its first plain line."""

MOST_TASKS = 10
"""Tasks whose accuracies a plain line lists one by one."""


class _Pace:
    """The time left, from the share of the budget used since this process made its first update.

    The first update takes longer than others. After a resume near the end of an epoch it would be the only one.
    """

    def __init__(self, share: float) -> None:
        self._begun, self._since = share, math.inf

    def reached(self, share: float) -> None:
        if math.isinf(self._since) and share > self._begun:
            self._begun, self._since = share, time.monotonic()

    def left(self, share: float) -> str:
        """Return the time left as text, or nothing until it is known."""
        done, elapsed = share - self._begun, time.monotonic() - self._since
        return f"{duration_text(elapsed * (1 - share) / done)} left" if done > 0 and elapsed > 0.5 and share < 1 else ""


class _TimeLeft(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(task.fields["pace"].left(task.completed), style="progress.remaining")


class _Bar(Progress):
    """The progress bar, below the accuracy matrix if there is one."""

    matrix: list[MatrixRow] = []  # noqa: RUF012  (set on each bar)

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.matrix:
            yield heat_map(self.matrix, self.console.width, self.console.height - 3)
        yield from super().get_renderables()


class TerminalDisplay:
    """Progress of one run, as `gradinc.runs.display.Display` describes it.

    Args:
        console: the console to print on.
        setting: ``auto`` (a bar on a terminal, plain lines elsewhere), ``plain`` or ``quiet``.
    """

    def __init__(self, console: Console, setting: str) -> None:
        self.console = console
        self.quiet = setting == "quiet"
        self.bar = setting == "auto" and console.is_terminal
        self._progress: _Bar | None = None
        self._matrix: list[MatrixRow] = []
        self._last_line = -math.inf
        self._numbers: dict[str, str] = {}
        self._share, self._pace = 0.0, _Pace(0.0)

    def __enter__(self) -> TerminalDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def begin(self, title: str, share: float) -> None:
        """Show that training begins or resumes, with this share of its budget used."""
        self._share, self._pace = share, _Pace(share)
        self._last_line = max(self._last_line, time.monotonic() - LINE_EVERY + FIRST_LINE)
        if self.bar and not self.quiet:
            self.__exit__(None, None, None)  # the bar of the previous task
            self._progress = _Bar(
                TextColumn("[bold]{task.description}", markup=True),
                BarColumn(bar_width=None),
                TaskProgressColumn(),
                TextColumn("{task.fields[numbers]}", markup=False),
                _TimeLeft(),
                console=self.console,
                transient=True,
                expand=True,
            )
            self._progress.matrix = self._matrix
            self._progress.start()
            self._task = self._progress.add_task(
                title,
                total=1.0,
                completed=share,  # type: ignore[arg-type]
                numbers="",
                pace=self._pace,
            )

    def numbers(self, share: float, **numbers: str) -> None:
        """Show new numbers, e.g. ``loss="0.31"``, until newer ones come."""
        self._share = share
        self._pace.reached(share)
        self._numbers.update(numbers)
        if self._progress is not None:
            self._progress.update(self._task, completed=share, numbers="  ".join(self._shown()))

    def reached(self, where: str) -> None:
        """Show the position in training: without a bar, a line every ten seconds."""
        self._numbers["at"] = where
        if self._progress is None and self._share < 1 and time.monotonic() - self._last_line > LINE_EVERY:
            self._plain_line()  # the line at the end is that of the last evaluation

    def matrix(self, matrix: list[MatrixRow]) -> None:
        """Show the accuracy matrix so far, with the row that is being measured."""
        self._matrix = matrix
        if self._progress is not None:
            self._progress.matrix = matrix
            self._progress.refresh()

    def measured(self, done: int, row: list[float | None]) -> None:
        """Show a complete row of the accuracy matrix: without a bar, a line."""
        if self._progress is None and not self.quiet and done:
            self.console.print(Text(f"       after task {done}: {_accuracies(row[:done])}"), soft_wrap=True)

    def evaluated(self, where: str) -> None:
        """Show that an evaluation is done: without a bar, a line."""
        if self._progress is None:
            self._numbers["at"] = where
            self._plain_line()

    def say(self, line: str, style: str | None = None) -> None:
        """Print a line that stays."""
        if not self.quiet:
            self.console.print(Text(printable(line), style=style or ""), soft_wrap=True)

    def warn(self, line: str) -> None:
        """Print a line that stays, even when quiet."""
        self.console.print(Text("warning: " + printable(line), style="yellow"), soft_wrap=True)

    def ended(self, result: dict[str, Any]) -> None:
        """Show the result in place of the bar."""
        self.__exit__(None, None, None)
        if self.quiet:
            return
        if "perplexity_matrix" in result:
            self.console.print(number_map(result["perplexity_matrix"], self.console.width))
        elif "matrix" in result:
            self.console.print(heat_map(result["matrix"], self.console.width))
        self.console.print(summary(result))

    def _shown(self) -> list[str]:
        return [f"{name} {value}" for name, value in self._numbers.items() if name != "at"]

    def _plain_line(self) -> None:
        if self.quiet:
            return
        self._last_line = time.monotonic()
        parts = [
            f"{100 * self._share:3.0f} %",
            *([self._numbers["at"]] if "at" in self._numbers else []),
            *self._shown(),
        ]
        if left := self._pace.left(self._share):
            parts.append(left)
        self.console.print(Text("  ".join(parts)), soft_wrap=True)


def _accuracies(row: list[float | None]) -> str:
    """Return the accuracies of a row of the matrix, or their mean and range if there are many."""
    if len(row) <= MOST_TASKS:
        return " ".join("·" if value is None else f"{100 * value:.1f}" for value in row) + " %"
    known = {task: 100 * value for task, value in enumerate(row, start=1) if value is not None}
    if not known:
        return "not measured"
    if len(known) == 1:
        ((task, value),) = known.items()
        return f"{value:.1f} % on task {task}; the others were not measured"
    low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    mean = sum(known.values()) / len(known)
    return f"mean {mean:.1f} %, from {known[low]:.1f} (task {low}) to {known[high]:.1f} (task {high})"


ROWS = {"rows", "forward_rows", "backward_rows"}
"""Keys of newer results; in older ones ``passes`` counted calls of the model, which is another quantity."""


def summary(result: dict[str, Any]) -> Table:
    """Return the table for the end of a run."""
    table = Table(show_header=False, box=None, padding=(0, 2, 0, 0))
    table.add_column(style="dim")
    table.add_column()
    several = "metrics" in result
    rows = [
        *(_metric_rows(result) if several else []),
        (
            "test" if not several else "test, mean of tasks" if "acc" in result["metrics"] else "test, last task",
            _measures(result["test"], "not measured"),
        ),
        *((f"{name} counts", _measures(own, "")) for name, own in result.get("baselines", {}).items()),
        (
            f"validation, {_last_task(result)}" if several else "validation",
            _measures(result["validation"], "no rows"),
        ),
        *(_oracle(result["oracle"], result["test"]) if result.get("oracle") else []),
        *([("values found on", str(result["search"]["judged_by"]))] if result.get("search") else []),
        ("ended by", f"budget.{result['ended_by']}"),
        ("samples", f"{result['samples']:,}"),
        *([("tokens", f"{result['tokens']:,}")] if "tokens" in result else []),
        ("updates", f"{result['steps']:,}"),
        *([("rows", _rows(result)), ("passes", f"{result['passes']:,.0f}")] if set(result) >= ROWS else []),
        ("time", duration_text(result["seconds"])),
        ("peak memory", bytes_text(result["peak_memory"])),
        *([("kept", f"{bytes_text(result['kept_bytes'])} by methods")] if result.get("kept_bytes") else []),
    ]
    for name, value in rows:
        table.add_row(name, value)
    return table


def _last_task(result: dict[str, Any]) -> str:
    return f"task {len(result['matrix'][0])}" if result.get("matrix") else "last task"


def _metric_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    rows = []
    for name, value in result["metrics"].items():
        known = result.get("task_metrics", {}).get(name)
        more = "" if known is None else f"   {100 * known:.2f} with known task"
        shown = f"– ({result['undefined'].get(name)})" if value is None else metric_shown(name, value) + more
        rows.append((MEASURES[name], shown))
    return rows


def _oracle(best: dict[str, Any], test: dict[str, float] | None) -> list[tuple[str, str]]:
    """Return the best of the measurements during training: it was chosen on the rows of the result."""
    measure = next((name for name in SCORES if test is not None and name in test), "accuracy")
    shown = f"{chosen_text(best['score'], measure)} at update {best['step']:,}, chosen on these rows"
    return [("best measurement (oracle)", shown)]


def _rows(result: dict[str, Any]) -> str:
    """Return the rows through the model, with both directions if they differ."""
    forward, backward = result["forward_rows"], result["backward_rows"]
    ways = "" if forward == backward else f"   {forward:,} forward, {backward:,} backward"
    return f"{result['rows']:,}{ways}"


def _measures(measures: dict[str, float] | None, otherwise: str) -> str:
    if not measures:
        return f"– ({otherwise})"
    if "perplexity" in measures:
        bits = f"   {measures['bits_per_byte']:.3f} bits per byte" if "bits_per_byte" in measures else ""
        return f"perplexity {measures['perplexity']:.2f}   loss {measures['loss']:.4f}{bits}"
    more = "".join(f"   {name} {value:.4f}" for name, value in measures.items() if name not in _KNOWN)
    if "accuracy" in measures:
        return f"accuracy {percent_text(measures['accuracy'], 2)}   loss {measures['loss']:.4f}{more}"
    return f"MSE {measures['mse']:.5g}   R² {measures['r2']:.3f}{more}"


_KNOWN = ("loss", "accuracy", "accuracy_in_task", "mse", "r2")
